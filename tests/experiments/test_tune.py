"""Tuning on real digits: what it leaves, that it goes on, and that it keeps to its budget's plan."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from onecycle_cli.engine import Hardware
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.tune import Tuned, tune, tune_name
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, load, to_yaml
from onecycle_cli.run_dir.run import RunDir

CPU = Hardware(torch.device("cpu"), "float32")
Tiny = Callable[..., Recipe]
SMALL = {"data.batch_size": 64, "sweep_wd.weight_decays": [1e-2, 1e-4], "model.width": 0.5}


@pytest.fixture
def tuned(tmp_path: Path, tiny: Tiny) -> Callable[..., tuple[RunDir, Tuned]]:
    def run_it(budget: float = 600, values: dict[str, object] | None = None) -> tuple[RunDir, Tuned]:
        recipe = tiny(SMALL | (values or {}))
        text = to_yaml(recipe)
        run = RunDir.create(tmp_path, command="tune", recipe_name="d", recipe_yaml=text, facts={}, name=None)
        return run, tune(recipe, CPU, run, silent, budget=budget, source="digits")

    return run_it


def test_it_leaves_a_whole_recipe_a_report_of_each_decision_and_a_run_of_each_trial(tuned: Callable) -> None:
    run, result = tuned()
    recipe = load(run.path / "tuned.yaml")
    assert recipe == result.recipe
    assert recipe.schedule.max_lr == result.max_lr
    assert recipe.name == "digits-tuned"
    assert [decision.stage for decision in result.decisions] == ["batch size", "weight decay", "momentum"]
    chosen = {field: value for decision in result.decisions for field, value in decision.chosen.items()}
    assert recipe.data.batch_size == chosen["data.batch_size"]
    assert recipe.optimizer.weight_decay == chosen["optimizer.weight_decay"]
    assert recipe.schedule.max_momentum == chosen["schedule.max_momentum"]
    report = (run.path / "tune.md").read_text()
    for decision in result.decisions:
        assert f"## {decision.stage}" in report
        assert decision.reason in report
        for trial in decision.trials:
            assert trial.valid_loss is None or f"{trial.valid_loss:.4f}" in report
    runs = [RunDir(path.parent) for path in run.path.glob("*/run.json")]
    # Three seeds of the start, three batch sizes, a weight decay, two momentums; what was chosen is not run again.
    trials = [inner for inner in runs if (inner.path / "epochs.csv").is_file()]
    assert len(trials) == 3 + 3 + 1 + 2
    # A range test of each batch size, at whose max_lr it is tried, momentum at the same pace; and the last three.
    found = {size: RunDir(run.path / f"batch_size={size}").summary["max_lr"] for size in (16, 32, 64, 128)}
    for inner in trials:
        recipe = load(inner.path / "recipe.yaml")
        peak = recipe.schedule.at_peak
        expected = found[recipe.data.batch_size] * (1 - peak) / (1 - 0.85)
        assert recipe.schedule.max_lr == pytest.approx(expected, rel=5e-3)
    (last,) = [inner for inner in runs if inner.summary.get("spread")]
    assert last.summary["max_lr"] == result.max_lr
    assert len(runs) == len(trials) + len(found) + 1


def test_what_was_run_before_an_interrupt_is_not_run_again(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "onecycle_cli", "tune", "digits", "--device", "cpu", "--epochs", "1"]
    words += ["--set", "model.width=0.25", "--budget", "5m", "--name", "mine", "--set", "find_lr.num_steps=40"]

    def start() -> subprocess.Popen:
        return subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ)

    def ended() -> dict[str, bytes]:
        # What is killed between its summary and its status goes on, and has another summary: with other seconds.
        paths = [path for path in tmp_path.glob("runs/mine/*/summary.json") if RunDir(path.parent).status == "finished"]
        return {path.parent.name: path.read_bytes() for path in paths}

    killed = start()
    while killed.poll() is None and len(ended()) < 2:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = ended()
    again = start()
    _, err = again.communicate()
    assert again.returncode == 0, err
    assert {name: ended()[name] for name in before} == before
    assert (tmp_path / "runs" / "mine" / "tuned.yaml").is_file()


def test_a_budget_that_is_too_short_for_anything_is_told(tuned: Callable) -> None:
    with pytest.raises(InputError, match=r"A budget of 0 s is too short.*\n.*--budget \d+s"):
        tuned(budget=0.01)


def test_the_same_command_finds_the_same_folder(tiny: Tiny) -> None:
    assert tune_name(tiny(), "float32", 600) == tune_name(tiny(), "float32", 600)
    assert tune_name(tiny(), "float32", 600) != tune_name(tiny(), "float32", 60)
