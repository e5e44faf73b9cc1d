"""Short cycles around a suggestion, on real digits."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from onecycle_cli.experiments.prepared_recipe import prepare
from onecycle_cli.experiments.range_test import find_lr
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.suggestions import saved_trials, suggested_max_lr
from onecycle_cli.experiments.verification import short_cycles
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.files import LR_RANGE
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")


@pytest.fixture
def found(tmp_path: Path) -> Callable[..., tuple]:
    def run_it(recipe: Recipe, *, verify: bool, report: Callable = silent) -> tuple:
        facts, text = {"precision": "float32"}, to_yaml(recipe)
        run = RunDir.create(tmp_path, command="find-lr", recipe_name="d", recipe_yaml=text, facts=facts, name=None)
        return run, find_lr(recipe, Session(run, CPU, report), verify=verify)

    return run_it


def test_three_short_cycles_are_kept_and_change_nothing_in_the_range_test(found: Callable, tiny: Callable) -> None:
    recipe, news = tiny({"schedule.epochs": 20}), list[Any]()
    plain, before = found(recipe, verify=False)
    run, after = found(recipe, verify=True, report=news.append)
    assert (run.path / LR_RANGE).read_bytes() == (plain.path / LR_RANGE).read_bytes()
    trials = pd.read_csv(run.path / "verify.csv")
    assert trials.columns.tolist() == ["max_lr", "steps", "valid_loss", "valid_accuracy"]
    assert trials["max_lr"].tolist() == pytest.approx([before.max_lr / 3, before.max_lr, 3 * before.max_lr], rel=1e-6)
    assert set(trials["steps"]) == {20}  # a twelfth of 240
    assert trials["valid_accuracy"].max() > 0.3
    assert "Verifying with 3 cycles of 20 steps; the planned run has 240." in news
    assert before.max_lr / 3 <= after.max_lr <= before.max_lr * 3
    assert run.read_json("suggestion.json")["rule"] == "basin, verified"


def test_a_verified_suggestion_is_read_again_with_its_cycles(found: Callable, tiny: Callable) -> None:
    run, suggestion = found(tiny({"schedule.epochs": 20}), verify=True)
    assert len(saved_trials(run)) == 3
    assert suggested_max_lr(run, tiny()).max_lr == suggestion.max_lr


def test_of_several_stages_the_last_is_verified(found: Callable, tiny: Callable) -> None:
    stages = [{"freeze_to": "head", "epochs": 2, "max_lr": 0.1}, {"epochs": 20, "max_lr": [0.01, 0.1]}]
    news: list[object] = []
    _, suggestion = found(
        tiny({"schedule.epochs": 22, "fine_tune": {"stages": stages}}), verify=True, report=news.append
    )
    assert suggestion.rule == "basin, verified"
    assert "Verifying with 3 cycles of 20 steps; the planned run has 240." in news


def test_a_run_that_is_too_short_for_short_cycles_is_not_verified_and_says_so(found: Callable, tiny: Callable) -> None:
    _, plain = found(tiny(), verify=False)
    run, suggestion = found(tiny(), verify=True)
    assert suggestion == plain
    assert run.facts["notes"] == ["The planned run of 24 steps is too short to be verified by cycles of 2."]
    assert not (run.path / "verify.csv").exists()


def test_a_cycle_that_diverges_is_a_row_without_scores(tiny: Callable, tmp_path: Path) -> None:
    recipe = tiny({"optimizer.weight_decay": 1.0, "schedule.epochs": 40})
    run = RunDir.create(tmp_path, command="find-lr", recipe_name="d", recipe_yaml="", facts={}, name=None)
    session = Session(run, CPU, silent)
    trials = short_cycles(recipe, 30.0, prepare(recipe, session), session)
    assert math.isnan(trials[-1].valid_loss)
    assert trials[-1].steps < 40
    assert pd.read_csv(run.path / "verify.csv")["valid_loss"].isna().tolist()[-1]
