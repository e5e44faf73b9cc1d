"""The truth of a task: what 1cycle runs reach by their max_lr, and what a suggestion loses against the best of it."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

ALIKE = {"valid_accuracy": 0.02, "valid_loss": 0.1}
"""Neighbours on the grid further apart than this are a cliff, and are not averaged."""


@dataclass(frozen=True)
class Truth:
    """A mean over seeds at each max_lr of the grid, smoothed over log lr; `error` is the standard error of a mean."""

    log_lrs: NDArray[np.float64]
    smoothed: NDArray[np.float64]
    error: float
    higher_is_better: bool

    @property
    def best_lr(self) -> float:
        """The max_lr of the grid with the best smoothed mean."""
        best = self.smoothed.argmax() if self.higher_is_better else self.smoothed.argmin()
        return float(np.exp(self.log_lrs[best]))

    def regret(self, lr: float) -> float:
        """What a run at `lr` loses against the best; beyond the grid it counts as the grid's end."""
        here = float(np.interp(np.log(lr), self.log_lrs, self.smoothed))
        lost = self.smoothed.max() - here if self.higher_is_better else here - self.smoothed.min()
        return float(lost)


def truth_of(runs: pd.DataFrame, column: str) -> Truth:
    """From the runs of one task: `valid_accuracy`, or `valid_loss`, where a diverged run counts as a uniform answer."""
    filled = runs.assign(valid_loss=runs.valid_loss.fillna(np.log(10)).clip(upper=np.log(10)))
    by_lr = filled.groupby("max_lr")[column]
    means = by_lr.mean().sort_index()
    # One spread for the whole plateau: three seeds alone tell too little of it.
    level = means.max() if column == "valid_accuracy" else means.min()
    plateau = (means - level).abs() < 3 * ALIKE[column]
    error = float(np.sqrt((by_lr.var()[plateau] / by_lr.count()[plateau]).mean()))
    values = means.to_numpy()
    smoothed = np.array([_mean_of_alike(values, i, ALIKE[column]) for i in range(len(values))])
    return Truth(np.log(means.index.to_numpy(dtype=float)), smoothed, error, column == "valid_accuracy")


def _mean_of_alike(values: NDArray[np.float64], centre: int, alike: float) -> float:
    """The value at `centre` with weight 2, its neighbours on the grid with weight 1 where they are alike."""
    near = {centre: 2.0} | {
        i: 1.0 for i in (centre - 1, centre + 1) if 0 <= i < len(values) and abs(values[i] - values[centre]) <= alike
    }
    return float(np.average([values[i] for i in near], weights=list(near.values())))
