"""The range test on real digits: its rows, its ends, and that it is the training it stands for."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from onecycle_cli.analysis.lr_range import Curve, CyclePlan, Suggestion, smoother, suggest
from onecycle_cli.analysis.lr_range.peers import PEERS
from onecycle_cli.experiments import range_test as module
from onecycle_cli.experiments.range_test import find_lr
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train
from onecycle_cli.progress import Progress, silent
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.files import LR_RANGE, SUGGESTION
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware
from onecycle_cli.training.step_blocks import in_blocks

CPU = Hardware(torch.device("cpu"), "float32")
Tiny = Callable[..., Recipe]


@pytest.fixture
def tested(tmp_path: Path, tiny: Tiny) -> Callable[..., tuple[RunDir, pd.DataFrame, Suggestion]]:
    """Runs a tiny range test; gives the run, its curve and the suggestion."""

    def run_it(values: dict[str, Any] | None = None, report: Callable = silent, repeats: int = 1) -> tuple:
        recipe = tiny(values)
        run = RunDir.create(
            tmp_path / "runs",
            command="find-lr",
            recipe_name="digits",
            recipe_yaml=to_yaml(recipe),
            facts={"precision": "float32"},
            name=None,
        )
        suggestion = find_lr(recipe, Session(run, CPU, report), repeats=repeats)
        return run, pd.read_csv(run.path / LR_RANGE), suggestion

    return run_it


@pytest.fixture(scope="module")
def kept() -> list[tuple[RunDir, pd.DataFrame, Suggestion]]:
    """What `plain` gives, from the first test that asks on."""
    return []


@pytest.fixture
def plain(tested: Callable, kept: list[tuple]) -> tuple[RunDir, pd.DataFrame, Suggestion]:
    """The range test of the tiny recipe as it stands, which the tests only read."""
    if not kept:
        kept.append(tested())
    return kept[0]


def test_lr_grows_as_the_recipe_says_and_the_average_is_of_the_losses(plain: tuple) -> None:
    _, curve, _ = plain
    assert curve["step"].tolist() == list(range(len(curve)))
    assert curve["lr"].to_numpy() == pytest.approx(1e-3 * (10 / 1e-3) ** (curve["step"] / 39), rel=1e-8)
    assert set(curve["momentum"]) == {0.95}
    smooth = smoother(0.98)
    assert curve["smoothed_loss"].to_numpy() == pytest.approx([smooth(loss) for loss in curve["train_loss"]], rel=1e-7)


@pytest.mark.draws
def test_the_loss_falls_then_rises_and_a_suggestion_with_all_files_comes_out(tested: Callable) -> None:
    run, curve, suggestion = tested()
    assert curve["smoothed_loss"].min() < 0.95 * curve["smoothed_loss"][0]
    assert 0.001 < suggestion.max_lr < 1
    assert run.read_json(SUGGESTION)["max_lr"] == suggestion.max_lr
    assert run.read_json(SUGGESTION)["peers"].keys() == PEERS.keys()
    assert sorted(path.name for path in run.path.iterdir()) == [
        "lr_range.csv",
        "lr_range.png",
        "recipe.yaml",
        "run.json",
        "suggestion.json",
        "summary.json",
    ]


def test_the_suggestion_can_be_computed_again_from_the_csv(plain: tuple) -> None:
    _, curve, suggestion = plain
    again = suggest([Curve(curve["lr"].tolist(), curve["train_loss"].tolist())], CyclePlan("sgd", 10, 24))
    assert again.max_lr == suggestion.max_lr
    assert again.peers == suggestion.peers


def test_repeats_differ_in_their_seeds_and_the_first_is_the_test_alone(tested: Callable, plain: tuple) -> None:
    run, curves, together = tested(repeats=3)
    assert curves["seed"].unique().tolist() == [0, 1, 2]
    _, alone, _ = plain
    assert curves[curves["seed"] == 0].equals(alone)
    assert curves.groupby("seed")["train_loss"].first().nunique() == 3
    assert together.spread > 1
    assert run.read_json(SUGGESTION)["spread"] == together.spread


def test_the_repeats_after_the_last_seed_begin_with_the_first(tested: Callable) -> None:
    _, curves, _ = tested({"seed": 2**32 - 1, "find_lr.num_steps": 10}, repeats=2)
    assert curves["seed"].unique().tolist() == [2**32 - 1, 0]


def test_the_same_recipe_gives_the_same_bytes_whatever_was_drawn_before(tested: Callable, plain: tuple) -> None:
    one, _, _ = plain
    torch.manual_seed(2)
    other, _, _ = tested()
    assert (one.path / LR_RANGE).read_bytes() == (other.path / LR_RANGE).read_bytes()
    assert (one.path / SUGGESTION).read_bytes() == (other.path / SUGGESTION).read_bytes()


def test_the_csv_does_not_depend_on_how_often_the_device_is_looked_at(
    tested: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = {"optimizer.weight_decay": 0.0, "find_lr.end_lr": 1000.0}
    every_step, _, _ = tested(values)
    elsewhere = Hardware(torch.device("meta"), "float32")  # only its type is asked for: it is no CPU
    monkeypatch.setattr(module, "in_blocks", lambda steps, _, size: in_blocks(steps, elsewhere, size))
    in_sevens, _, _ = tested(values | {"runtime.log_every": 7})
    assert (every_step.path / LR_RANGE).read_bytes() == (in_sevens.path / LR_RANGE).read_bytes()


def test_an_exploding_loss_ends_the_test_with_the_step_that_told(tested: Callable) -> None:
    _, curve, suggestion = tested({"find_lr.end_lr": 1000.0, "find_lr.smoothing": 0.5})
    assert len(curve) < 40
    smoothed = curve["smoothed_loss"]
    assert smoothed.iloc[-1] > 4 * smoothed.min() or not np.isfinite(smoothed.iloc[-1])
    assert (smoothed.iloc[:-1] <= 4 * smoothed.iloc[:-1].cummin()).all()
    assert suggestion.max_lr is not None


def test_a_loss_that_has_not_risen_makes_the_test_go_on_once_to_ten_times_the_end(tested: Callable) -> None:
    news: list[object] = []
    run, curve, suggestion = tested({"find_lr.end_lr": 0.1}, news.append)
    assert curve["lr"].iloc[-1] == pytest.approx(1.0, rel=0.15)
    assert len(curve) == 40 + 20  # two decades in 39 steps, one more in half as many
    assert "The loss has not risen by lr 0.1: the test continues to 1." in news
    assert run.facts["notes"] == ["The loss has not risen by lr 0.1: the test continues to 1."]
    if suggestion.max_lr is None:
        assert "never rose" in suggestion.reason


def test_a_linear_test_has_equal_steps(tested: Callable) -> None:
    _, curve, _ = tested({"find_lr.mode": "linear", "find_lr.end_lr": 4.0})
    assert np.diff(curve["lr"]) == pytest.approx((4.0 - 1e-3) / 39)


def test_nothing_learned_gives_no_number_but_a_reason(tested: Callable) -> None:
    run, _, suggestion = tested({"find_lr.start_lr": 1e-12, "find_lr.end_lr": 1e-7})
    assert suggestion.max_lr is None
    assert "never fell" in suggestion.reason
    assert run.read_json(SUGGESTION)["max_lr"] is None


def test_validation_is_scored_every_so_many_steps_and_changes_nothing_else(tested: Callable, plain: tuple) -> None:
    _, without, _ = plain
    _, scored, _ = tested({"find_lr.valid_every": 5})
    assert scored.columns.tolist() == [*without.columns, "valid_loss", "valid_accuracy"]
    assert scored[without.columns].equals(without)
    assert scored.loc[scored["valid_loss"].notna(), "step"].tolist() == list(range(0, len(scored), 5))
    assert scored["valid_accuracy"].dropna().between(0, 1).all()


def test_its_first_steps_are_those_of_a_training_at_the_same_lr(tmp_path: Path, tested: Callable, tiny: Tiny) -> None:
    # A range that hardly moves, and a cycle that does not: the same lr and momentum, so the same losses.
    values = {"find_lr.start_lr": 0.01, "find_lr.end_lr": 0.010000001, "find_lr.num_steps": 20}
    values |= {"schedule.max_lr": 0.01}
    values |= {"schedule.div_factor": 1.0, "schedule.final_div_factor": 1.0, "schedule.base_momentum": 0.95}
    _, curve, _ = tested(values)
    run = RunDir.create(tmp_path, command="train", recipe_name="x", recipe_yaml="", facts={}, name=None)
    train(tiny(values), Session(run, CPU, silent))
    steps = pd.read_csv(run.path / "steps.csv")
    assert curve["train_loss"][:20].tolist() == pytest.approx(steps["train_loss"][:20].tolist(), rel=1e-4)


def test_the_tested_lr_is_the_largest_and_the_others_have_their_share_of_it(tested: Callable) -> None:
    # With a body that all but stands still, the head alone learns: the loss falls later and less far.
    _, alike, _ = tested({"find_lr.end_lr": 1.0})
    _, apart, _ = tested({"find_lr.end_lr": 1.0, "schedule.max_lr": {"body": 1e-9, "head": 1.0}})
    assert apart["lr"][:30].equals(alike["lr"][:30])
    assert apart["train_loss"][0] == alike["train_loss"][0]
    assert apart["train_loss"][:30].min() > alike["train_loss"][:30].min() + 0.1


def test_progress_is_told_up_to_the_end(tested: Callable) -> None:
    news: list[object] = []
    tested({"find_lr.end_lr": 1000.0, "find_lr.smoothing": 0.5}, news.append)
    told = [one for one in news if isinstance(one, Progress) and one.work == "range test"]
    assert told[-1].done == told[-1].total
    assert all(one.images_per_second > 0 for one in told)


@pytest.mark.parametrize(("policy", "told"), [("cosine", True), ("one_cycle", False)])
def test_a_schedule_that_starts_at_its_peak_is_told_to_take_the_conservative_number(
    tested: Callable, policy: str, told: bool
) -> None:
    run, _, suggestion = tested({"schedule.policy": policy})
    assert suggestion.max_lr is not None
    assert any("use conservative_max_lr" in note for note in run.facts["notes"]) is told
