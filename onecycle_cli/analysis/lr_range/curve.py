"""The curve of a range test, with its end, its noise, its average and the median of several curves."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Columns = NDArray[np.float64]

FEWEST_POINTS = 10
"""The fewest finite steps of a curve that can be analysed."""


@dataclass(frozen=True)
class Curve:
    """The lrs and losses of one range test, in ascending order of lr; the last loss may be infinite or NaN."""

    lrs: Sequence[float]
    losses: Sequence[float]


def smoother(smoothing: float) -> Callable[[float], float]:
    """Returns a function that takes the losses in turn and returns their bias-corrected exponential moving average.

    `average_i = smoothing x average_(i-1) + (1 - smoothing) x loss_i`, divided by `1 - smoothing ** (i + 1)`. The
    average uses past losses only, as a running test requires; `smooth` smooths whole curves.
    """
    average, weight = 0.0, 1.0

    def smoothed(loss: float) -> float:
        nonlocal average, weight
        average = smoothing * average + (1 - smoothing) * loss
        weight *= smoothing
        return average / (1 - weight)

    return smoothed


def has_diverged(loss: float, smoothed_loss: float, best: float, stop_factor: float) -> bool:
    """Whether a range test stops: the loss is not finite, or its average exceeds `stop_factor` times the best."""
    return not (math.isfinite(loss) and math.isfinite(smoothed_loss)) or smoothed_loss > stop_factor * best


def noise(losses: Columns) -> float:
    """Returns a robust standard deviation of the batch-to-batch noise, from the median size of the second differences.

    For normal noise that median is 0.6745 x sqrt(6) standard deviations. A slope has no second difference, and a late
    explosion hardly changes a median.
    """
    return float(np.median(np.abs(np.diff(losses, n=2)))) / (0.6745 * math.sqrt(6))


def median_curve(curves: Sequence[Curve]) -> tuple[Columns, Columns, bool]:
    """Returns the lrs and median losses up to the last finite median, and whether a step with a non-finite one follows.

    A test that ended before the others ended because its loss rose: its later losses count as infinite.
    """
    longest = max(curves, key=lambda curve: len(curve.lrs))
    losses = np.full((len(curves), len(longest.lrs)), np.inf)
    for row, curve in zip(losses, curves, strict=True):
        row[: len(curve.losses)] = np.nan_to_num(curve.losses, nan=np.inf, posinf=np.inf, neginf=np.inf)
        row[np.isinf(row).argmax() if np.isinf(row).any() else len(row) :] = np.inf
    median = np.median(losses, axis=0)
    end = len(median) if np.isfinite(median).all() else int(np.isfinite(median).argmin())
    return np.asarray(longest.lrs, dtype=float)[:end], median[:end], end < len(median)


def significant(number: float) -> float:
    """Rounds `number` to three significant digits: a range test is no more precise."""
    return float(f"{number:.3g}")
