import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "benchmarks" / "suggestion" / "measure.py"

Measure = Callable[..., None]


@pytest.fixture
def measure(module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> Measure:
    """Measures a tiny task with few seeds and steps, in this process."""
    script, tasks = module("measure"), module("tasks")
    changes = {"schedule.epochs": 1, "data.batch_size": 128, "model.width": 0.25, "runtime.precision": "float32"}
    monkeypatch.setitem(tasks.TASKS, "tiny", tasks.Task("digits", changes, grid=(0.05, 0.1)))
    few: dict[str, Any] = {"TRUTH_SEEDS": {"first": range(2)}, "TAIL_SEEDS": range(1)}
    few |= {"CURVE_SEEDS": range(100, 102), "SHORT_SEEDS": range(100, 101)}
    few |= {"FORM_TASKS": ("tiny",), "FORM_SEEDS": range(100, 101), "LENGTHS": (20, 40), "LINEAR_LENGTHS": (20,)}
    few |= {"DECAY_TASKS": ("tiny",), "DECAYS": (1e-2, 1e-3), "DECAY_GRID": (0.1,), "DECAY_SEEDS": range(1)}
    for name, value in (few | {"PARTS": (1 / 24, 1.0), "CURVE_STEPS": 5}).items():
        monkeypatch.setattr(script, name, value)

    def run(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["measure.py", *words, "--task", "tiny", "--processes", "1"])
        script.main()

    return run


GRID, TAILS = (0.05, 0.1), (0.0005, 0.005, 1.0)


def test_a_truth_has_a_run_for_each_max_lr_and_seed_and_tails_for_some_seeds(measure: Measure, results: Path) -> None:
    measure("truth")
    rows = pd.read_csv(results / "suggestion" / "truth.csv").sort_values(["seed", "max_lr"])
    wanted = [(seed, lr) for seed, lrs in ((0, (*GRID, *TAILS)), (1, GRID)) for lr in sorted(lrs)]
    assert list(zip(rows.seed, rows.max_lr, strict=True)) == wanted
    assert (rows.steps == 12).all()
    assert (rows[rows.max_lr.isin(GRID)].valid_loss < 3).all()


def test_what_is_there_is_not_measured_again(measure: Measure, results: Path) -> None:
    measure("truth")
    file = results / "suggestion" / "truth.csv"
    whole = pd.read_csv(file)
    whole.drop(index=1).to_csv(file, index=False)
    kept = file.read_text()
    measure("truth")
    assert file.read_text().startswith(kept)
    key = ["seed", "max_lr"]
    rest = [number for number in range(len(whole)) if number != 1]
    assert list(map(tuple, pd.read_csv(file)[key].values)) == list(map(tuple, whole[key].values[[*rest, 1]]))


def test_forms_are_range_tests_of_other_lengths_ranges_and_modes(measure: Measure, results: Path) -> None:
    measure("forms")
    file = results / "suggestion" / "forms.csv"
    rows = pd.read_csv(file)
    steps = rows.groupby("form", sort=False).size()
    forms = ["20 steps", "40 steps", "linear, 20 steps"]
    assert list(steps.index) == [*forms, "1e-05 to 10", "0.0001 to 100", "0.001 to 3"]
    assert list(steps[:2]) == [20, 40]
    assert rows[rows.form == "0.001 to 3"].lr.min() == pytest.approx(1e-3)
    linear = rows[rows.form == "linear, 20 steps"].lr
    assert linear.diff()[1:].min() == pytest.approx(linear.diff().max(), rel=0.01)
    measured = file.read_text()
    measure("forms")
    assert file.read_text() == measured


def test_curves_go_over_the_range_of_each_library(measure: Measure, results: Path) -> None:
    measure("curves")
    rows = pd.read_csv(results / "suggestion" / "curves.csv")
    assert list(rows.groupby(["seed", "range"]).size().index) == [
        (seed, kind) for seed in (100, 101) for kind in ("Lightning", "fastai", "recipe")
    ]
    assert rows[rows.range == "fastai"].lr.min() == pytest.approx(1e-7)


def test_the_train_loss_of_a_short_cycle_is_the_mean_of_its_last_steps(measure: Measure, results: Path) -> None:
    measure("short")
    rows = pd.read_csv(results / "suggestion" / "short.csv")
    # An epoch is 12 steps, and fewer than 10 tell nothing.
    assert [int(steps) for steps in rows.steps] == [10, 10, 12, 12]
    assert (rows.train_loss > 1.5).all()


def test_each_weight_decay_has_cycles_and_three_range_tests(measure: Measure, results: Path) -> None:
    measure("decay")
    cycles, curves = (pd.read_csv(results / "suggestion" / f"{name}.csv") for name in ("decay", "decay_curves"))
    assert list(cycles.weight_decay) == [1e-2, 1e-3]
    assert list(curves.groupby("weight_decay").seed.unique().map(list)) == [[100, 110, 120]] * 2


@pytest.mark.parametrize("processes", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_a_process_measures_what_is_missing(processes: int, start: Callable[..., str], results: Path) -> None:
    """Of the committed curves of a task one is left out: that alone is short."""
    curves = pd.read_csv(ROOT / "benchmarks" / "results" / "suggestion" / "curves.csv")
    curves = curves[curves.task == "digits-resnet8-64"]
    is_missing = (curves.seed == 104) & (curves.range == "recipe")
    (results / "suggestion").mkdir(parents=True)
    file = results / "suggestion" / "curves.csv"
    curves[~is_missing].to_csv(file, index=False)
    words = ["curves", "--task", "digits-resnet8-64", "--processes", str(processes)]
    if processes == 1:
        printed = start("suggestion/measure.py", *words)
    else:
        done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        printed = done.stdout
    assert printed.startswith("digits-resnet8-64 seed 104 recipe: ")
    again = pd.read_csv(file)[(~is_missing).sum() :]
    assert set(zip(again.seed, again.range, strict=True)) == {(104, "recipe")}
    assert list(again.lr) == list(curves[is_missing].lr)[: len(again)]
