"""Tasks with a truth that is worked out by hand."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

from onecycle_cli.analysis.lr_range import Curve

SGD, ADAMW = "mnist-2000-resnet8-32", "mnist-2000-resnet8-128-adamw-long"


@pytest.fixture
def judged(module: Callable[[str], ModuleType]) -> Callable[..., Any]:
    """A task of 50 steps, whose best max_lr is the one given; a factor of four away it loses 0.1, then 0.4 and 0.8.

    The runs have no noise. Its range test has 100 steps, a flat start, a basin and an explosion.
    """
    answers, tasks, truth = module("answers"), module("tasks").TASKS, module("truth")
    lrs = np.geomspace(3e-4, 10, 100)
    losses = 2.3 - 1.5 / (1 + (0.02 / lrs) ** 2) + 20 * np.clip(lrs - 1, 0, None)
    losses += 0.01 * np.random.default_rng(0).standard_normal(100)

    def of(name: str = SGD, best: float = 0.1, **others: Any) -> Any:
        lost = {1 / 64: 0.8, 1 / 16: 0.4, 1 / 4: 0.1, 1: 0.0, 4: 0.1, 16: 0.4, 64: 0.8}
        rows = [{"max_lr": best * factor, "valid_accuracy": 0.9 - loss} for factor, loss in lost.items()]
        runs = pd.DataFrame(rows * 3).assign(steps=50, valid_loss=1.0)
        curve = Curve(lrs.tolist(), losses.tolist())
        kinds = {(kind, seed): curve for kind in ("recipe", "fastai", "Lightning") for seed in (100, 101)}
        return answers.Judged(name, tasks[name], runs, truth.truth_of(runs), 50, kinds | others.get("tests", {}))

    return of
