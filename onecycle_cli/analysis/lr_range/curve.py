"""The curve of a range test, and what is plain to see on it: when it ends, its noise, its smooth shape."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Columns = NDArray[np.float64]

FEWEST_POINTS = 10
"""Below this a curve has no shape that could be read."""


@dataclass(frozen=True)
class Curve:
    """The steps of one range test, in ascending order of lr; the last loss may be not finite."""

    lrs: Sequence[float]
    losses: Sequence[float]


def smoother(smoothing: float) -> Callable[[float], float]:
    """A function that takes one loss after another and gives their bias-corrected exponential moving average.

    `average_i = smoothing x average_(i-1) + (1 - smoothing) x loss_i`, divided by `1 - smoothing ** (i + 1)`. It looks
    back only, as a test that is still going on must; what is read from a whole curve is smoothed by `smooth`.
    """
    average, weight = 0.0, 1.0

    def smoothed(loss: float) -> float:
        nonlocal average, weight
        average = smoothing * average + (1 - smoothing) * loss
        weight *= smoothing
        return average / (1 - weight)

    return smoothed


def has_diverged(loss: float, smoothed_loss: float, best: float, stop_factor: float) -> bool:
    """Whether a range test ends here: the loss is not finite, or its average passed `stop_factor` times the best."""
    return not (math.isfinite(loss) and math.isfinite(smoothed_loss)) or smoothed_loss > stop_factor * best


def noise(losses: Columns) -> float:
    """A robust standard deviation of the batch-to-batch noise: the median size of the second differences.

    For normal noise that median is 0.6745 x sqrt(6) of a standard deviation. A slope leaves no second difference, and a
    late explosion hardly moves a median.
    """
    return float(np.median(np.abs(np.diff(losses, n=2)))) / (0.6745 * math.sqrt(6))


def median_curve(curves: Sequence[Curve]) -> tuple[Columns, Columns, bool]:
    """The lrs and the median loss of each step, as far as it is finite, and whether a step that is not came next.

    A test that ended before the others did so because its loss had risen: it counts as infinite from there on.
    """
    longest = max(curves, key=lambda curve: len(curve.lrs))
    losses = np.full((len(curves), len(longest.lrs)), np.inf)
    for row, curve in zip(losses, curves, strict=True):
        row[: len(curve.losses)] = np.nan_to_num(curve.losses, nan=np.inf, posinf=np.inf, neginf=np.inf)
        row[np.isinf(row).argmax() if np.isinf(row).any() else len(row) :] = np.inf
    median = np.median(losses, axis=0)
    end = len(median) if np.isfinite(median).all() else int(np.isfinite(median).argmin())
    return np.asarray(longest.lrs, dtype=float)[:end], median[:end], end < len(median)
