from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from onecycle_cli.analysis.lr_range.suggestion import TYPICAL

Module = Callable[[str], ModuleType]
RESULTS = Path(__file__).parents[3] / "benchmarks" / "results" / "suggestion"


def test_what_is_typical_is_the_geometric_mean_of_the_best_max_lrs(module: Module) -> None:
    score, truth, tasks = module("score"), module("truth"), module("tasks").TASKS
    runs = pd.read_csv(RESULTS / "truth.csv")
    best: dict[str, list[float]] = {"sgd": [], "adamw": []}
    for name, of_task in runs[runs.task != score.SMALL_TEST_SET].groupby("task"):
        optimizer = score.plan_of(tasks[name]).optimizer
        best[optimizer].append(truth.truth_of(of_task, "valid_accuracy").best_lr)
    means = {optimizer: float(np.exp(np.mean(np.log(lrs)))) for optimizer, lrs in best.items()}
    assert pytest.approx(means, rel=0.05) == TYPICAL


def test_a_truth_is_smoothed_over_its_neighbours_but_not_over_a_cliff(module: Module) -> None:
    truth_of = module("truth").truth_of
    runs = pd.DataFrame({"max_lr": [0.1, 1.0, 10.0, 100.0], "valid_accuracy": [0.705, 0.72, 0.71, 0.1]})
    runs["valid_loss"] = [0.9, 0.8, 0.85, np.nan]
    truth = truth_of(pd.concat([runs, runs]), "valid_accuracy")
    # By hand: (2 x 0.705 + 0.72) / 3, (0.705 + 2 x 0.72 + 0.71) / 4, (0.72 + 2 x 0.71) / 3, and the cliff alone.
    assert truth.smoothed == pytest.approx([0.71, 0.71375, 2.14 / 3, 0.1])
    assert truth.best_lr == pytest.approx(1)
    assert truth.regret(1) == pytest.approx(0)
    assert truth.regret(100) == truth.regret(1000) == pytest.approx(0.61375)
    assert truth.regret(10**1.5) == pytest.approx(0.71375 - (2.14 / 3 + 0.1) / 2)
    assert truth.error == 0
    loss = truth_of(runs, "valid_loss")
    assert loss.best_lr == pytest.approx(10)
    assert loss.regret(100) == pytest.approx(np.log(10) - loss.smoothed.min())
