"""Short cycles around a suggestion, on real digits."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from onecycle_cli.analysis.lr_range import Suggestion
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.prepared_recipe import prepare
from onecycle_cli.experiments.range_test import find_lr
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.suggestions import saved_cycles, suggested_max_lr
from onecycle_cli.experiments.verification import budget_of, short_cycles
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.files import LR_RANGE
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")


@pytest.fixture
def found(tmp_path: Path) -> Callable[..., tuple]:
    def run_it(recipe: Recipe, *, budget: float | None, report: Callable = silent) -> tuple:
        facts, text = {"precision": "float32"}, to_yaml(recipe)
        run = RunDir.create(tmp_path, command="find-lr", recipe_name="d", recipe_yaml=text, facts=facts, name=None)
        return run, find_lr(recipe, Session(run, CPU, report), budget=budget)

    return run_it


def test_short_cycles_are_kept_and_change_nothing_in_the_range_test(found: Callable, tiny: Callable) -> None:
    recipe, news = tiny({"schedule.epochs": 20}), list[Any]()
    plain, before = found(recipe, budget=None)
    run, after = found(recipe, budget=0.25, report=news.append)
    assert (run.path / LR_RANGE).read_bytes() == (plain.path / LR_RANGE).read_bytes()
    trials = pd.read_csv(run.path / "verify.csv")
    assert trials.columns.tolist() == ["max_lr", "steps", "valid_loss", "valid_accuracy"]
    assert trials["max_lr"].tolist() == pytest.approx([before.max_lr / 3, before.max_lr, 3 * before.max_lr], rel=1e-6)
    assert set(trials["steps"]) == {20}  # a third of a quarter of 240
    assert trials["valid_accuracy"].max() > 0.3
    assert "Verifying with 3 cycles of 20 steps; the planned run has 240." in news
    assert before.max_lr / 3 <= after.max_lr <= before.max_lr * 3
    assert run.read_json("suggestion.json")["rule"] == "basin, verified"


def test_a_verified_suggestion_is_read_again_with_its_cycles(found: Callable, tiny: Callable) -> None:
    run, suggestion = found(tiny({"schedule.epochs": 20}), budget=0.25)
    assert len(saved_cycles(run)) == 3
    assert suggested_max_lr(run, tiny({"schedule.epochs": 20})).max_lr == suggestion.max_lr
    # An interrupted verification leaves a table with fewer rows.
    run.update(files={})
    (run.path / "verify.csv").write_text("max_lr,steps,valid_loss,valid_accuracy\n")
    assert suggested_max_lr(run, tiny()).max_lr > 0


def test_a_larger_budget_has_a_second_round_of_longer_cycles_in_the_same_table(found: Callable, tiny: Callable) -> None:
    news = list[Any]()
    run, suggestion = found(tiny({"schedule.epochs": 20}), budget=0.7, report=news.append)
    table = pd.read_csv(run.path / "verify.csv")
    assert table["steps"].tolist() == [16] * 5 + [42] * 2  # a tenth and a quarter of 0.7 times 240
    assert table["steps"].sum() <= 0.7 * 240
    assert table["max_lr"][5:].isin(table["max_lr"][:5]).any()
    assert [line for line in news if str(line).startswith("Verifying")] == [
        "Verifying with 5 cycles of 16 steps; the planned run has 240.",
        "Verifying with 2 cycles of 42 steps; the planned run has 240.",
    ]
    assert suggested_max_lr(run, tiny({"schedule.epochs": 20})).max_lr == suggestion.max_lr
    assert suggestion.lowest_max_lr <= suggestion.max_lr <= suggestion.highest_max_lr


def test_of_several_stages_the_last_is_verified(found: Callable, tiny: Callable) -> None:
    stages = [{"freeze_to": "head", "epochs": 2, "max_lr": 0.1}, {"epochs": 20, "max_lr": [0.01, 0.1]}]
    news: list[object] = []
    _, suggestion = found(
        tiny({"schedule.epochs": 22, "fine_tune": {"stages": stages}}), budget=0.25, report=news.append
    )
    assert suggestion.rule == "basin, verified"
    assert "Verifying with 3 cycles of 20 steps; the planned run has 240." in news


def test_a_run_that_is_too_short_for_short_cycles_is_not_verified_and_says_so(found: Callable, tiny: Callable) -> None:
    _, plain = found(tiny(), budget=None)
    run, suggestion = found(tiny(), budget=0.25)
    assert suggestion == plain
    (note,) = run.facts["notes"]
    assert note.startswith(
        "The suggestion is not verified: a budget of 0.25 of the planned run of 24 steps is too small"
    )
    assert not (run.path / "verify.csv").exists()


def test_a_cycle_that_diverges_is_a_row_without_scores(tiny: Callable, tmp_path: Path) -> None:
    recipe = tiny({"optimizer.weight_decay": 1.0, "schedule.epochs": 40})
    run = RunDir.create(tmp_path, command="find-lr", recipe_name="d", recipe_yaml="", facts={}, name=None)
    session = Session(run, CPU, silent)
    high = Suggestion(30.0, 10.0, 3.0, "low", 1.0, 3.0, 10.0, 90.0, None, "basin", "Because.", {})
    cycles = short_cycles(recipe, high, prepare(recipe, session), session, budget=0.25)
    assert math.isnan(cycles[-1].valid_loss)
    assert cycles[-1].steps == cycles[0].steps  # the length that was planned, as of the others
    assert pd.read_csv(run.path / "verify.csv")["valid_loss"].isna().tolist()[-1]


def test_verify_is_a_budget_of_a_quarter() -> None:
    assert budget_of(None, verify=True) == 0.25
    assert budget_of(None, verify=False) is None
    assert budget_of(4, verify=False) == 4


@pytest.mark.parametrize("budget", [0.0, -0.5, 4.01, math.inf, math.nan])
def test_a_budget_out_of_range_is_refused(budget: float) -> None:
    with pytest.raises(InputError, match=f"budget is {budget:g}"):
        budget_of(budget, verify=False)


def test_verify_with_a_budget_is_refused() -> None:
    with pytest.raises(InputError, match=r"verify and budget 0.5 both name a budget"):
        budget_of(0.5, verify=True)
