"""The truth of a task: what 1cycle runs reach by their max_lr, and what a suggestion loses against the best of it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

ALIKE = 0.02
"""Neighbours on the grid whose accuracies are further apart than this are a cliff, and are not averaged."""

NEAR = np.log(5)
"""The greatest distance, in log lr, of neighbours that are averaged: the tails are a decade from the grid."""

PLATEAU = 3 * ALIKE
"""What is no further below the best mean than this belongs to the plateau."""

TRUTH_SEEDS = 3
"""The least number of runs at each max_lr of a grid with which a task is scored."""


@dataclass(frozen=True)
class Truth:
    """The mean accuracy over seeds at each max_lr, smoothed over log lr.

    `noise` is the standard deviation of a run on the plateau, `error` is the standard error of a mean there. `chance`
    is the accuracy of a network that learned nothing: that of the worst run, since the runs do not name the number of
    classes.
    """

    log_lrs: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    noise: float
    error: float
    chance: float

    @property
    def best_lr(self) -> float:
        """The measured max_lr with the best smoothed mean."""
        return float(np.exp(self.log_lrs[self.smoothed.argmax()]))

    @property
    def best(self) -> float:
        """The accuracy there."""
        return float(self.smoothed.max())

    def accuracy(self, lr: ArrayLike) -> NDArray[np.float64]:
        """The accuracy of a run at `lr`, interpolated over log lr; beyond the measured values, that of `chance`."""
        logs = np.log(np.asarray(lr, dtype=float))
        inner = np.clip(logs, self.log_lrs[0], self.log_lrs[-1])
        here = np.interp(inner, self.log_lrs, self.smoothed)
        return np.where(np.isclose(inner, logs, rtol=0, atol=1e-9), here, self.chance)

    def regret(self, lr: float) -> float:
        """What a run at `lr` loses against the best."""
        return self.best - float(self.accuracy(lr))


def is_whole(runs: pd.DataFrame, grid: tuple[float, ...]) -> bool:
    """Whether the runs of a task have enough seeds at each max_lr of its grid."""
    counts = runs.groupby("max_lr").size()
    return all(counts.get(max_lr, 0) >= TRUTH_SEEDS for max_lr in grid)


def truth_of(runs: pd.DataFrame) -> Truth:
    """From the runs of one task, whose accuracy is that of a guess where they diverged."""
    by_lr = runs.groupby("max_lr").valid_accuracy
    means = by_lr.mean().sort_index()
    # One spread for the whole plateau: three seeds alone tell too little of it.
    plateau = means.max() - means < PLATEAU
    variances, counts = by_lr.var()[plateau], by_lr.count()[plateau]
    logs, values = np.log(means.index.to_numpy(dtype=float)), means.to_numpy()
    return Truth(
        logs,
        np.array([_mean_of_alike(logs, values, i) for i in range(len(values))]),
        noise=float(np.sqrt(variances.mean())),
        error=float(np.sqrt((variances / counts).mean())),
        chance=float(runs.valid_accuracy.min()),
    )


def _mean_of_alike(logs: NDArray[np.float64], values: NDArray[np.float64], centre: int) -> float:
    """The value at `centre` with weight 2, its neighbours with weight 1 where they are near and alike."""
    near = {centre: 2.0} | {
        i: 1.0
        for i in (centre - 1, centre + 1)
        if 0 <= i < len(values) and abs(values[i] - values[centre]) <= ALIKE and abs(logs[i] - logs[centre]) < NEAR
    }
    return float(np.average([values[i] for i in near], weights=list(near.values())))
