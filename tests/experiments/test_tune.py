"""Tuning on real digits: what it leaves, that it goes on, and that it keeps to its budget's plan."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer.testing import Result

from onecycle_cli.analysis.tuning import FINAL_REPEATS
from onecycle_cli.errors import InputError, NoSuggestionError
from onecycle_cli.experiments import batch_size
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.suggestions import saved_curves
from onecycle_cli.experiments.tune import Tuned, tune, tune_name
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, load, to_yaml
from onecycle_cli.run_dir.files import ERROR_BAR
from onecycle_cli.run_dir.run import RunDir, readable_runs
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")
PLENTY = 86_400.0  # seconds: no machine is so slow that it lacks time
Tiny = Callable[..., Recipe]


@pytest.fixture(autouse=True)
def _few_timed_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for each batch size makes its speed stable, which no test here needs."""
    monkeypatch.setattr(batch_size, "TIMED_SECONDS", 0.0)


def new_run(folder: Path, recipe: Recipe) -> RunDir:
    text = to_yaml(recipe)
    return RunDir.create(folder, command="tune", recipe_name="d", recipe_yaml=text, facts={}, name=None)


@pytest.fixture
def tuned(tmp_path: Path, easy: Callable) -> Callable[..., tuple[RunDir, Tuned]]:
    def run_it(budget: float = PLENTY, values: dict[str, object] | None = None) -> tuple[RunDir, Tuned]:
        recipe = easy(values)
        run = new_run(tmp_path, recipe)
        return run, tune(recipe, Session(run, CPU, silent), budget=budget, source="easy")

    return run_it


def test_it_leaves_a_whole_recipe_a_report_of_each_decision_and_a_run_of_each_trial(tuned: Callable) -> None:
    run, result = tuned(values={"sweep_wd.weight_decays": [1e-2, 1e-4]})
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
            assert trial.valid_loss is None or f"| {trial.max_lr:g} | {trial.valid_loss:.4f} |" in report
    runs = [RunDir(path.parent) for path in run.path.glob("*/run.json")]
    # Three seeds of the start, a batch size, a weight decay, two momentums; what was chosen is not run again.
    trials = [inner for inner in runs if (inner.path / "epochs.csv").is_file()]
    assert len(trials) == 3 + 1 + 1 + 2
    # A range test of each batch size, at whose max_lr it is tried, momentum at the same pace; and the last three.
    found = {size: RunDir(run.path / f"batch_size={size}").summary["max_lr"] for size in (8, 16)}
    for inner in trials:
        recipe = load(inner.path / "recipe.yaml")
        peak = recipe.schedule.at_peak
        expected = found[recipe.data.batch_size] * (1 - peak) / (1 - 0.85)
        assert recipe.schedule.max_lr == pytest.approx(expected, rel=5e-3)
    (last,) = [inner for inner in runs if inner.summary.get("spread")]
    assert last.summary["max_lr"] == result.max_lr
    assert len(runs) == len(trials) + len(found) + 1


def test_what_was_run_before_an_interrupt_is_not_run_again_unless_it_is_damaged(tmp_path: Path, easy: Callable) -> None:
    recipe = easy({"find_lr.num_steps": 20})
    run = new_run(tmp_path, recipe)

    def ended() -> dict[str, bytes]:
        ran = [one for one, facts in readable_runs(run.path) if facts["status"] == "finished"]
        return {one.path.name: (one.path / "summary.json").read_bytes() for one in ran}

    def stop(_: object) -> None:
        if len(ended()) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tune(recipe, Session(run, CPU, stop), budget=PLENTY, source="easy")
    before = ended()
    damaged, whole = sorted(before)
    (run.path / damaged / "run.json").write_text("{")
    tune_in(run, recipe)
    assert ended()[whole] == before[whole]
    assert [path.name for path in run.path.glob("*.unfinished-*")] == [f"{damaged}.unfinished-1"]
    assert (run.path / "tuned.yaml").is_file()


@pytest.mark.slow
def test_what_was_run_before_a_kill_is_not_run_again(
    onecycle: Callable[..., Result], tmp_path: Path, easy: Callable
) -> None:
    (tmp_path / "easy.yaml").write_text(to_yaml(easy()))
    words = ["tune", "easy.yaml", "--budget", "24h", "--name", "mine"]

    def ended() -> dict[str, bytes]:
        # What is killed between its summary and its status goes on, and has another summary: with other seconds.
        paths = [path for path in tmp_path.glob("runs/mine/*/summary.json") if RunDir(path.parent).status == "finished"]
        return {path.parent.name: path.read_bytes() for path in paths}

    command = [sys.executable, "-m", "onecycle_cli", *words]
    killed = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    while killed.poll() is None and len(ended()) < 2:
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    before = ended()
    again = onecycle(*words)
    assert again.exit_code == 0, again.stderr
    assert {name: ended()[name] for name in before} == before
    assert (tmp_path / "runs" / "mine" / "tuned.yaml").is_file()


def tune_in(run: RunDir, recipe: Recipe) -> Tuned:
    return tune(recipe, Session(run, CPU, silent), budget=PLENTY, source="easy")


@pytest.fixture
def first(once: Callable, tmp_path: Path, easy: Callable) -> tuple[RunDir, Recipe, Tuned]:
    """A run of tune that came to its end, its recipe and its result; the images stay where the first test made them."""

    def make() -> tuple[str, Recipe, Tuned]:
        recipe = easy()
        run = new_run(tmp_path / "runs", recipe)
        return run.path.name, recipe, tune_in(run, recipe)

    name, recipe, result = once("tune", make)
    run = RunDir(tmp_path / "runs" / name)
    return run, recipe, replace(result, summary=result.summary | {"recipe": str(run.path / "tuned.yaml")})


def last_range_tests(run: RunDir) -> list[RunDir]:
    """The range tests under the chosen values, which alone have several seeds."""
    found = [RunDir(path.parent) for path in run.path.glob("*/lr_range.csv")]
    return [inner for inner in found if len(saved_curves(inner)) == FINAL_REPEATS]


def refuse(tests: list[RunDir]) -> None:
    """Leaves range tests as if they had given no max_lr."""
    for test in tests:
        test.write_json("summary.json", test.summary | {"max_lr": None, "reason": "The loss never fell."})


@pytest.mark.slow
def test_where_the_last_range_tests_give_no_max_lr_they_are_repeated_and_then_it_is_that_of_the_short_runs(
    first: tuple[RunDir, Recipe, Tuned],
) -> None:
    run, recipe, result = first
    (test,) = last_range_tests(run)
    refuse([test])
    repeated = tune_in(run, recipe)
    (retry,) = [one for one in last_range_tests(run) if one.path != test.path]
    assert load(retry.path / "recipe.yaml").find_lr.num_steps == 80
    assert repeated.max_lr == retry.summary["max_lr"]
    refuse([retry])
    last = tune_in(run, recipe)
    assert result.decisions == repeated.decisions == last.decisions
    decision = last.decisions[-1]
    (short_run,) = [trial for trial in decision.trials if decision.chosen.items() <= trial.values.items()]
    assert last.max_lr == short_run.max_lr
    assert last.confidence == "low"
    assert (last.error_bar, last.summary["points_lost_90"]) == (None, None)
    assert vars(repeated.error_bar) == {name: retry.summary[name] for name in ERROR_BAR}
    assert repeated.summary["points_lost_90"] == retry.summary["points_lost_90"]
    assert load(run.path / "tuned.yaml").schedule.max_lr == last.max_lr
    report = (run.path / "tune.md").read_text()
    assert f"max_lr {last.max_lr:g}, confidence low. It is the max_lr of the short runs with these values" in report
    assert "The range tests under the chosen values gave no max_lr. The loss never fell." in report


def test_without_a_max_lr_and_a_short_run_there_is_a_report_of_what_was_tried(tmp_path: Path, easy: Callable) -> None:
    recipe = easy({"find_lr.start_lr": 1e-12, "find_lr.end_lr": 1e-7, "find_lr.num_steps": 10})
    run = new_run(tmp_path, recipe)
    says = r"No short run.* gave no max_lr. The loss never fell.*\n.*tune.md.*end_lr is 1e-07"
    with pytest.raises(NoSuggestionError, match=says):
        tune_in(run, recipe)
    report = (run.path / "tune.md").read_text()
    assert "No max_lr, and so no recipe." in report
    assert "| data.batch_size 8 |  | no max_lr: The loss never fell" in report
    assert RunDir(run.path / "batch_size=8,num_steps=20").status == "finished"
    assert not (run.path / "tuned.yaml").exists()


def test_what_was_begun_is_gone_on_with_though_the_budget_is_used_up(first: tuple[RunDir, Recipe, Tuned]) -> None:
    run, recipe, result = first
    assert [decision.stage for decision in result.decisions] == ["batch size", "momentum"]
    for path in run.path.glob("*/run.json"):
        RunDir(path.parent).update(seconds=PLENTY)
    assert tune_in(run, recipe) == result


def test_a_budget_that_is_too_short_for_anything_is_told(tuned: Callable) -> None:
    with pytest.raises(InputError, match=r"A budget of 0 s is too short.*\n.*--budget \d+s"):
        tuned(budget=0.01)


def test_the_same_command_finds_the_same_folder(tiny: Tiny) -> None:
    assert tune_name(tiny(), "float32", 600) == tune_name(tiny(), "float32", 600)
    assert tune_name(tiny(), "float32", 600) != tune_name(tiny(), "float32", 60)
