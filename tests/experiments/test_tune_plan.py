"""What is measured before a tuning, and the plan that follows."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from onecycle_cli.analysis.tuning import Cost
from onecycle_cli.errors import InputError
from onecycle_cli.experiments import batch_size
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.tune_plan import Measured, least_epochs, measured, plan_within
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")
Tiny = Callable[..., Recipe]


@pytest.fixture(autouse=True)
def _few_timed_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for each batch size makes its speed stable, which no test here needs."""
    monkeypatch.setattr(batch_size, "TIMED_SECONDS", 0.0)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, command="tune", recipe_name="d", recipe_yaml="", facts={}, name=None)


def test_what_was_measured_is_kept_and_not_measured_again(run: RunDir, tiny: Tiny) -> None:
    recipe = tiny({"data.batch_size": 512})
    found = measured(recipe, Session(run, CPU, silent))
    assert found.images == 1437
    assert set(found.speeds) == {512, 256, 128}
    assert found.cost.epoch > 0
    assert measured(recipe, Session(run, CPU, silent)) == found


def test_a_folder_of_a_tuning_under_other_settings_is_refused_by_name(run: RunDir, tiny: Tiny) -> None:
    measured(tiny({"data.batch_size": 512}), Session(run, CPU, silent))
    with pytest.raises(
        InputError, match=r"other settings:\n  data.batch_size: 512 there, 256 here\nGive another --name"
    ):
        measured(tiny({"data.batch_size": 256}), Session(run, CPU, silent))


def test_a_damaged_measurement_is_told(run: RunDir, tiny: Tiny) -> None:
    run.write_json("tune.json", {"images": 1437, "speeds": {}})
    with pytest.raises(InputError, match="tune.json is damaged: it has no 'cost'"):
        measured(tiny(), Session(run, CPU, silent))


def test_a_batch_size_that_does_not_fit_in_memory_is_not_tried(tiny: Tiny) -> None:
    recipe = tiny({"data.batch_size": 64})
    found = Measured(1437, {16: 100.0, 32: 100.0, 64: 100.0}, Cost(64, 1.0, 1.0), 0.0)
    assert plan_within(600, recipe, found).stages[0].values == [{"data.batch_size": 16}, {"data.batch_size": 32}]


def test_a_batch_size_that_micro_batches_cannot_share_is_not_tried(tiny: Tiny) -> None:
    recipe = tiny({"data.batch_size": 64, "data.accumulate": 16})
    found = Measured(1437, {16: 100.0, 32: 100.0, 64: 100.0, 128: 100.0}, Cost(64, 1.0, 1.0), 0.0)
    assert plan_within(600, recipe, found).stages[0].values == [{"data.batch_size": 32}, {"data.batch_size": 128}]


@pytest.mark.parametrize(
    ("images", "shape", "least"),
    [(1437, "blog", 1), (128, "blog", 3), (128, "smith", 3), (128, "torch", 3), (256, "blog", 2)],
)
def test_a_short_run_has_at_least_the_epochs_of_a_whole_cycle(tiny: Tiny, images: int, shape: str, least: int) -> None:
    # An epoch of 128 images is one step, and 0.43 of two steps are none on the way up.
    recipe = tiny({"schedule.epochs": 30, "schedule.shape": shape})
    assert least_epochs(recipe, images) == least


def test_a_recipe_that_is_too_short_for_its_own_cycle_is_told(tiny: Tiny) -> None:
    with pytest.raises(InputError, match="at least one step"):
        least_epochs(tiny({"schedule.epochs": 1}), 128)


def test_a_schedule_without_cycles_is_tuned_without_the_momentum_of_a_peak(tiny: Tiny) -> None:
    found = Measured(1437, {128: 100.0}, Cost(128, 1.0, 1.0), 0.0)
    plan = plan_within(6000, tiny({"schedule.policy": "cosine"}), found)
    assert [values for stage in plan.stages for values in stage.values if "schedule.max_momentum" in values] == [
        {"schedule.max_momentum": 0.9}
    ]
