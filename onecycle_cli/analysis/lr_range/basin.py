"""The basin of a range test: how far the loss has fallen at each lr, where the middle of that is, and its edges.

Everything is measured against the fall of the loss, so that adding a constant to it, or scaling it, moves nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onecycle_cli.analysis.lr_range.curve import FEWEST_POINTS, Columns, Curve, median_curve, noise

START_SHARE = 0.1
"""Of the way from the first lr to the last, in log lr: there lr does next to nothing, and the loss is what it falls
from."""

FEWEST_START_STEPS = 3
"""A linear test leaves the lowest lrs in one step."""

BANDWIDTH = 0.2
"""Standard deviation of the smoothing, in decades of lr."""

EDGE_DEPTH = 0.5
"""The edges are where the loss has fallen by half of its whole fall, and where it has risen again by half."""


@dataclass(frozen=True)
class Basin:
    """A range test with its smooth shape, up to the last step that was finite; `diverged` where the next one was not.

    The first `start_steps` steps are the start, and `start_loss` is their median.
    """

    lrs: Columns
    losses: Columns
    smoothed: Columns
    start_steps: int
    start_loss: float
    diverged: bool

    @property
    def lowest(self) -> int:
        """The index of the least loss."""
        return int(self.smoothed.argmin())

    @property
    def least_loss(self) -> float:
        return float(self.smoothed[self.lowest])

    @property
    def fall(self) -> float:
        return self.start_loss - self.least_loss

    @property
    def noise(self) -> float:
        """The standard deviation of a batch's loss, up to where the loss is least."""
        return noise(self.losses[: max(self.lowest + 1, FEWEST_POINTS)])

    @property
    def standard_error(self) -> float:
        """Of the fall: that of the median at the start and that of the smooth loss, for noise that forgets itself."""
        per_decade = len(self.lrs) / np.log10(self.lrs[-1] / self.lrs[0])
        smoothed = 2 * np.sqrt(np.pi) * BANDWIDTH * per_decade
        return self.noise * float(np.sqrt(np.pi / 2 / self.start_steps + 1 / smoothed))

    @property
    def signal(self) -> float:
        """The fall in standard errors."""
        error = self.standard_error
        return self.fall / error if error else math.inf

    @property
    def rose(self) -> bool:
        """Whether the loss came back to half of its fall, or was not finite in the end."""
        return self.diverged or bool((self.depth[self.lowest :] < EDGE_DEPTH).any())

    @property
    def risen(self) -> float:
        """How far the smooth loss came back after its least value, as a share of its fall."""
        return float(self.smoothed[self.lowest :].max() - self.least_loss) / self.fall

    @property
    def ends_falling(self) -> bool:
        """Whether the loss was still at its least when it was suddenly not finite."""
        return self.diverged and bool(self.lrs[-1] < self.lrs[self.lowest] * 10**BANDWIDTH)

    @property
    def depth(self) -> Columns:
        """0 where the loss is at its start or above, 1 where it is least; 0 throughout where it never fell."""
        if self.fall <= 0:
            return np.zeros_like(self.smoothed)
        return np.clip((self.start_loss - self.smoothed) / self.fall, 0, 1)

    def quantile(self, share: float) -> float:
        """The lr below which this share of the basin lies: of its squared depth over log lr."""
        weights = self._weights
        below = np.cumsum(weights) - weights / 2
        return float(np.exp(np.interp(share, below / weights.sum(), np.log(self.lrs))))

    @property
    def middle(self) -> float:
        """The mean of log lr weighted by squared depth, as an lr."""
        return float(np.exp(np.average(np.log(self.lrs), weights=self._weights)))

    @property
    def edges(self) -> tuple[float, float]:
        """The lrs where the loss has first fallen by half, and where it is last below that."""
        deep = np.flatnonzero(self.depth >= EDGE_DEPTH)
        return float(self.lrs[deep[0]]), float(self.lrs[deep[-1]])

    @property
    def ridge(self) -> tuple[float, float, float] | None:
        """The lrs of two basins' least losses with the top between them; None where there is one basin.

        There are two where the loss lies at three quarters of its fall, rises above a quarter of it, and comes down
        to three quarters again.
        """
        deep, shallow = self.depth >= 0.75, self.depth <= 0.25
        first = int(deep.argmax())
        risen = first + int(shallow[first:].argmax())
        if not shallow[risen] or not deep[risen:].any():
            return None
        again = risen + int(deep[risen:].argmax())
        left, right = first + int(self.smoothed[first:risen].argmin()), again + int(self.smoothed[again:].argmin())
        top = left + int(self.smoothed[left:right].argmax())
        return float(self.lrs[left]), float(self.lrs[top]), float(self.lrs[right])

    @property
    def _weights(self) -> Columns:
        weights: Columns = self.depth**2 * np.gradient(np.log(self.lrs))
        return weights


def basin_of(lrs: Columns, losses: Columns, *, diverged: bool) -> Basin:
    """From the finite steps of a test, in ascending order of lr; `diverged` where the step after them was not finite.

    Losses above the start are cut off as far above it as the loss falls below it: how high an explosion goes says
    nothing, and would fill the basin beside it when smoothed.
    """
    start_steps = max(FEWEST_START_STEPS, int((lrs <= lrs[0] * (lrs[-1] / lrs[0]) ** START_SHARE).sum()))
    start_loss = float(np.median(losses[:start_steps]))
    ceiling = start_loss + max(0.0, start_loss - float(np.quantile(losses, 0.05)))
    smoothed = smooth(lrs, np.minimum(losses, ceiling))
    return Basin(lrs, losses, smoothed, start_steps, start_loss, diverged)


def smooth(lrs: Columns, losses: Columns) -> Columns:
    """A symmetric Gaussian mean over log lr: it looks both ways, so that the curve is not shifted as by an average."""
    decades = np.log10(lrs)
    weights = np.exp(-0.5 * ((decades[:, None] - decades) / BANDWIDTH) ** 2)
    smoothed: Columns = weights @ losses / weights.sum(axis=1)
    return smoothed


@dataclass(frozen=True)
class Shape:
    """What a figure shows of range tests: their median, smooth, and the lowest and highest of their smooth curves."""

    lrs: Columns
    median: Columns
    low: Columns
    high: Columns


def shape_of(curves: Sequence[Curve]) -> Shape:
    """The shape of one range test or of several over the same lrs, as far as their median is finite."""
    lrs, losses, diverged = median_curve(curves)
    if not len(lrs):
        return Shape(lrs, losses, losses, losses)
    single = [median_curve([curve]) for curve in curves]
    each = [basin_of(*columns, diverged=ended).smoothed for *columns, ended in single if len(columns[0])]
    rows = np.array([np.interp(np.arange(len(lrs)), np.arange(len(row)), row) for row in each])
    return Shape(lrs, basin_of(lrs, losses, diverged=diverged).smoothed, rows.min(axis=0), rows.max(axis=0))


def has_risen(curve: Curve) -> bool:
    """Whether a range test has come past its basin, and needs no higher lr."""
    lrs, losses, diverged = median_curve([curve])
    return diverged or (len(lrs) >= FEWEST_POINTS and basin_of(lrs, losses, diverged=False).rose)


ONSET_RISE = 0.05
"""The loss has taken off when it is this share of its fall above its least value."""


@dataclass(frozen=True)
class Turn:
    """Where a range test turns, in lr.

    `argmin_lr` has the least loss, at `onset_lr` the loss has taken off (None where it never did), and `reach_lr` is
    the last at which it lies below half of its fall.
    """

    argmin_lr: float
    onset_lr: float | None
    reach_lr: float


def turn_of(curves: Sequence[Curve]) -> Turn | None:
    """The turn of the median curve; None where it has too few finite steps to be read, or never fell."""
    lrs, losses, diverged = median_curve(curves)
    if len(lrs) < FEWEST_POINTS:
        return None
    basin = basin_of(lrs, losses, diverged=diverged)
    if basin.fall <= 0:
        return None
    above = np.flatnonzero(basin.smoothed[basin.lowest :] > basin.least_loss + ONSET_RISE * basin.fall)
    onset = float(lrs[basin.lowest + above[0]]) if len(above) else None
    return Turn(float(lrs[basin.lowest]), onset, basin.edges[1])
