"""The benchmarks are run by hand; held here is that they start, and that scores follow from what was run."""

import importlib
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from onecycle_cli.lr_range.suggestion import TYPICAL

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
SUGGESTION = BENCHMARKS / "results" / "suggestion"


@pytest.fixture
def suggestion(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The modules of benchmarks/suggestion."""
    monkeypatch.syspath_prepend(BENCHMARKS / "suggestion")
    return SimpleNamespace(**{name: importlib.import_module(name) for name in ("score", "tasks", "truth")})


def test_the_committed_scores_follow_from_the_committed_curves_and_runs(suggestion: SimpleNamespace) -> None:
    again = suggestion.score.scored(*(pd.read_csv(SUGGESTION / f"{name}.csv") for name in ("curves", "truth", "short")))
    pd.testing.assert_frame_equal(again, pd.read_csv(SUGGESTION / "scores.csv"), rtol=1e-4)


def test_what_is_typical_is_the_geometric_mean_of_the_best_max_lrs(suggestion: SimpleNamespace) -> None:
    runs = pd.read_csv(SUGGESTION / "truth.csv")
    best: dict[str, list[float]] = {"sgd": [], "adamw": []}
    for name, of_task in runs[runs.task != suggestion.score.SMALL_TEST_SET].groupby("task"):
        optimizer = suggestion.score.plan_of(suggestion.tasks.TASKS[name]).optimizer
        best[optimizer].append(suggestion.truth.truth_of(of_task, "valid_accuracy").best_lr)
    means = {optimizer: float(np.exp(np.mean(np.log(lrs)))) for optimizer, lrs in best.items()}
    assert pytest.approx(means, rel=0.05) == TYPICAL


def test_every_task_is_a_recipe(suggestion: SimpleNamespace, tmp_path: Path) -> None:
    for folder in ("cifar10", "mnist"):
        for split in ("train", "test"):
            for name in ("a", "b", "cat", "dog"):
                inner = tmp_path / folder / split / name
                inner.mkdir(parents=True)
                for number in range(2_500 if split == "train" else 1):
                    (inner / f"{number}.png").touch()
    for name, task in suggestion.tasks.TASKS.items():
        recipe = task.resolved(tmp_path)
        assert len(task.grid) >= 9, name
        if task.images:
            kept = list(Path(recipe.data.path).glob("train/*/*"))
            assert len(kept) == task.images
            assert len(list(Path(recipe.data.path).glob("test/*/*"))) == (len(task.classes) or 4)


def test_a_truth_is_smoothed_over_its_neighbours_but_not_over_a_cliff(suggestion: SimpleNamespace) -> None:
    runs = pd.DataFrame({"max_lr": [0.1, 1.0, 10.0, 100.0], "valid_accuracy": [0.705, 0.72, 0.71, 0.1]})
    runs["valid_loss"] = [0.9, 0.8, 0.85, np.nan]
    truth = suggestion.truth.truth_of(pd.concat([runs, runs]), "valid_accuracy")
    # By hand: (2 x 0.705 + 0.72) / 3, (0.705 + 2 x 0.72 + 0.71) / 4, (0.72 + 2 x 0.71) / 3, and the cliff alone.
    assert truth.smoothed == pytest.approx([0.71, 0.71375, 2.14 / 3, 0.1])
    assert truth.best_lr == pytest.approx(1)
    assert truth.regret(1) == pytest.approx(0)
    assert truth.regret(100) == truth.regret(1000) == pytest.approx(0.61375)
    assert truth.regret(10**1.5) == pytest.approx(0.71375 - (2.14 / 3 + 0.1) / 2)
    assert truth.error == 0
    loss = suggestion.truth.truth_of(runs, "valid_loss")
    assert loss.best_lr == pytest.approx(10)
    assert loss.regret(100) == pytest.approx(np.log(10) - loss.smoothed.min())


@pytest.mark.skipif(torch.cuda.is_available(), reason="a machine without CUDA is what this is about")
def test_without_a_gpu_its_benchmark_says_so() -> None:
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "gpu.py", "."], capture_output=True, text=True, check=False, timeout=120
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "There is no CUDA device, so there is nothing to measure here.\n"


def test_the_bare_loop_runs() -> None:
    words = ["--steps", "1", "--batch-size", "8", "--depth", "8"]
    done = subprocess.run(
        [sys.executable, BENCHMARKS / "contenders" / "bare.py", *words], capture_output=True, text=True, check=True
    )
    assert '"train"' in done.stdout
