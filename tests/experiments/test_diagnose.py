"""Reading a training's folder as a diagnosis sees it: whole, cut short, going on, damaged."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from onecycle_cli.analysis.diagnosis import diagnose
from onecycle_cli.analysis.lr_range import USUAL_MAX_LR
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.diagnose import planned, read_training, tail_share
from onecycle_cli.experiments.planning import recipe_schedule
from onecycle_cli.experiments.range_test import find_lr
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.schedules import LrMomentum
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")
Tiny = Callable[..., Recipe]


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[..., RunDir]:
    def make(recipe: Recipe, command: str = "train") -> RunDir:
        facts, text = {"precision": "float32"}, to_yaml(recipe)
        return RunDir.create(tmp_path, command=command, recipe_name="digits", recipe_yaml=text, facts=facts, name=None)

    return make


@pytest.fixture
def trained(new_run: Callable, tiny: Tiny, copied: Callable) -> Callable[..., RunDir]:
    """The training of the tiny recipe with some values, which is run once; each test gets a copy."""

    def run_it(values: dict | None = None) -> RunDir:
        def make() -> tuple[RunDir, None]:
            recipe = tiny(values)
            run = new_run(recipe)
            train(recipe, Session(run, CPU, silent))
            return run, None

        run, _ = copied(str(values or {}), make)
        return RunDir(run.path)

    return run_it


def test_a_run_is_read_with_its_plan_and_says_what_its_summary_says(trained: Callable) -> None:
    run = trained()
    training = read_training(run)
    assert (training.status, training.complete) == ("finished", True)
    assert [epoch.epoch for epoch in training.epochs] == [1, 2]
    assert [step.step for step in training.steps] == list(range(24))
    settings = training.settings
    assert (settings.epochs, settings.max_lr, settings.classes, settings.valid_images) == (2, 0.1, 10, 360)
    assert (settings.suggested_max_lr, settings.usual_max_lr) == (None, USUAL_MAX_LR["sgd"])
    (found,) = diagnose(training)
    saved = run.summary["diagnosis"]
    assert found.rule == saved["rule"] == "underfitting"
    assert found.line == f"{saved['rule']}, epoch 2. {saved['text']} {saved['advice']}"
    assert found.evidence == pytest.approx(saved["evidence"])


def test_of_a_run_that_goes_on_the_last_row_is_left_out_while_it_is_being_written(trained: Callable) -> None:
    run = trained()
    run.update(status="running", files={})
    epochs = run.path / "epochs.csv"
    whole = epochs.read_text()
    for cut in range(len(whole.splitlines(keepends=True)[-1])):
        epochs.write_text(whole[: len(whole) - 1 - cut])
        training = read_training(run)
        assert [epoch.epoch for epoch in training.epochs] == [1]
        assert diagnose(training) == []
    epochs.write_text(whole.splitlines(keepends=True)[0])
    assert read_training(run).epochs == []


@pytest.mark.parametrize("damage", ["epoch,step\n", "", "cut"])
def test_a_finished_run_with_a_damaged_table_is_not_read(trained: Callable, damage: str) -> None:
    run = trained()
    epochs = run.path / "epochs.csv"
    epochs.write_text(epochs.read_text()[:-30] if damage == "cut" else damage)
    with pytest.raises(InputError, match="epochs.csv is damaged"):
        read_training(run)


def test_text_in_place_of_a_number_is_damage(trained: Callable) -> None:
    run = trained()
    epochs = run.path / "epochs.csv"
    epochs.write_text(epochs.read_text().replace("\n2,", "\ntwo,"))
    with pytest.raises(InputError, match="epochs.csv is damaged"):
        read_training(run)


def test_a_diverged_run_may_have_no_epoch(trained: Callable) -> None:
    run = trained({"schedule.max_lr": 1000, "schedule.div_factor": 1, "optimizer.weight_decay": 1})
    training = read_training(run)
    assert (training.status, training.epochs) == ("diverged", [])
    assert [found.rule for found in diagnose(training)] == ["diverged"]


def test_a_run_that_has_not_begun_is_said_to_be_so(new_run: Callable, tiny: Tiny) -> None:
    with pytest.raises(InputError, match=r"has no epochs.csv: it is a run of train, running\."):
        read_training(new_run(tiny()))
    with pytest.raises(InputError, match="it is a run of find-lr"):
        read_training(new_run(tiny(), "find-lr"))


def test_the_range_test_of_its_own_folder_says_which_lr_fits(trained: Callable) -> None:
    run = trained({"schedule.max_lr": None})
    settings = read_training(run).settings
    assert settings.suggested_max_lr == settings.max_lr
    assert settings.fitting_max_lr == settings.max_lr


def test_a_given_range_test_says_so_where_its_settings_fit(trained: Callable, new_run: Callable, tiny: Tiny) -> None:
    run, test = trained(), new_run(tiny(), "find-lr")
    suggestion = find_lr(tiny(), Session(test, CPU, silent))
    assert read_training(run, test).settings.suggested_max_lr == suggestion.max_lr
    other = trained({"optimizer.weight_decay": 1e-3})
    with pytest.raises(InputError, match=r"(?s)ran under other settings than.*weight_decay"):
        read_training(other, test)


def test_the_tail_is_what_comes_after_the_cycle(tiny: Tiny) -> None:
    at = recipe_schedule(tiny({"schedule.epochs": 10, "schedule.pct_start": 0.25}), 10)
    assert tail_share(at, 100) == pytest.approx(0.49)  # lr is at its first value at step 50 again
    lrs = [0.0, 1.0, 0.0, 0.0]
    assert tail_share(lambda step: LrMomentum(lrs[step], 0.9), 4) == 0
    lrs = [1.0, 1.0, 0.5, 0.05]
    assert tail_share(lambda step: LrMomentum(lrs[step], 0.9), 4) == 0.25


def test_of_a_long_run_the_tail_is_known_to_a_thousandth(tiny: Tiny) -> None:
    at = recipe_schedule(tiny({"schedule.epochs": 95, "schedule.pct_start": 0.43158}), 390)
    assert tail_share(at, 95 * 390) == pytest.approx(0.1368, abs=1e-3)  # as published
    looked_at = []

    def schedule(step: int) -> LrMomentum:
        looked_at.append(step)
        return LrMomentum(0.1, 0.9)

    tail_share(schedule, 1_000_000)
    assert len(looked_at) == 10_000


def test_a_network_that_was_trained_before_has_no_usual_max_lr(tiny: Tiny) -> None:
    counts: dict[str, Any] = {"train_images": 1437, "valid_images": 360, "classes": 10}
    assert planned(tiny({"model.init": "runs/before", "schedule.max_lr": 1e-3}), **counts).fitting_max_lr == 1e-3


def test_a_policy_without_a_cycle_has_no_tail(tiny: Tiny) -> None:
    steps = {"schedule.policy": "multistep", "schedule.milestones": [1], "schedule.gamma": 0.01}
    assert planned(tiny(steps), train_images=1437, valid_images=360, classes=10).tail_share == 0


def test_the_plan_tells_augmentation_and_momentum(tiny: Tiny) -> None:
    counts: dict[str, Any] = {"train_images": 1437, "valid_images": 360, "classes": 10}
    plain = {"data.random_crop": False, "data.horizontal_flip": False}
    settings = planned(tiny(plain | {"schedule.base_momentum": 0.5}), **counts, suggested=0.3)
    assert (settings.augmented, settings.gain, settings.suggested_max_lr) == (False, 2, 0.3)
    adamw = planned(tiny({"optimizer.name": "adamw"}), **counts)
    assert (adamw.augmented, adamw.gain, adamw.usual_max_lr) == (True, 1, USUAL_MAX_LR["adamw"])


@pytest.mark.parametrize(
    "values",
    [
        {"schedule.policy": "constant"},
        {"schedule.epochs": 2, "fine_tune": {"stages": [{"epochs": 1}, {"epochs": 1, "max_lr": 0.05}]}},
    ],
)
def test_a_run_of_several_cycles_or_none_is_known_as_such(trained: Callable, values: dict[str, object]) -> None:
    assert not read_training(trained(values)).settings.single_cycle
    assert read_training(trained({})).settings.single_cycle


def test_a_run_older_than_the_counts_of_its_classes_is_read_as_one_of_equal_classes(trained: Callable) -> None:
    run = trained()
    assert read_training(run).settings.chance == pytest.approx(2.3025, abs=1e-3)
    assert sum(read_training(run).settings.train_counts) == 1437
    facts = {name: value for name, value in run.facts.items() if name != "class_counts"}
    run.write_json("run.json", facts)
    settings = read_training(run).settings
    assert [settings.chance, settings.valid_chance] == pytest.approx([math.log(10)] * 2)
    assert diagnose(read_training(run))[0].rule == "underfitting"


def test_a_balanced_sampler_and_any_augmentation_are_part_of_the_plan(tiny: Tiny) -> None:
    def plan(**values: Any) -> Any:
        counts = [1000, 20]
        how: Any = {"train_images": 1020, "valid_images": 100, "classes": 2, "train_counts": counts}
        return planned(tiny(values), **how, valid_counts=counts, suggested=None)

    plain = plan(**{"data.horizontal_flip": False, "data.random_crop": False})
    assert (plain.balanced_classes, plain.augmented) == (False, False)
    assert plain.chance < 0.2
    balanced = plan(**{"data.sampler": "balanced", "augmentation": "strong"})
    assert (balanced.balanced_classes, balanced.augmented) == (True, True)
    assert balanced.chance == pytest.approx(math.log(2))
