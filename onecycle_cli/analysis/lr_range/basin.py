"""The basin of a range test: the depth of the loss at each lr, the basin's middle, and its edges.

All depths are relative to the fall of the loss, so that a constant offset or a scale factor changes nothing. Only the
explosion is relative to the loss itself.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from onecycle_cli.analysis.lr_range.curve import FEWEST_POINTS, Columns, Curve, median_curve, noise

START_SHARE = 0.1
"""The share of the lr range, in log lr, that counts as the start of a test. There lr has almost no effect, and the loss
is the level from which the fall is measured."""

FEWEST_START_STEPS = 3
"""The fewest steps in the start; a linear test has all low lrs in one step."""

BANDWIDTH = 0.2
"""The standard deviation of the Gaussian smoothing, in decades of lr."""

EDGE_DEPTH = 0.5
"""The depth at the edges of a basin: the loss has fallen by half of its whole fall, or has risen again by half."""

EXPLODED = 1.5
"""The multiple of the start's loss from which on the loss counts as exploded."""


@dataclass(frozen=True)
class Basin:
    """A range test with its smooth curve, up to the last finite step; `diverged` if the step after that was not finite.

    The first `start_steps` steps are the start of the test, and `start_loss` is their median loss.
    """

    lrs: Columns
    losses: Columns
    smoothed: Columns
    start_steps: int
    start_loss: float
    diverged: bool

    @property
    def lowest(self) -> int:
        """The index of the least smooth loss."""
        return int(self.smoothed.argmin())

    @property
    def least_loss(self) -> float:
        return float(self.smoothed[self.lowest])

    @property
    def fall(self) -> float:
        return self.start_loss - self.least_loss

    @property
    def noise(self) -> float:
        """The standard deviation of the batch-to-batch noise, up to the least loss."""
        return noise(self.losses[: max(self.lowest + 1, FEWEST_POINTS)])

    @property
    def standard_error(self) -> float:
        """The standard error of the fall: that of the start's median and of the smooth loss, for independent noise."""
        per_decade = len(self.lrs) / np.log10(self.lrs[-1] / self.lrs[0])
        smoothed = 2 * np.sqrt(np.pi) * BANDWIDTH * per_decade
        return self.noise * float(np.sqrt(np.pi / 2 / self.start_steps + 1 / smoothed))

    @property
    def signal(self) -> float:
        """The fall divided by its standard error; infinite if the error is 0."""
        error = self.standard_error
        return self.fall / error if error else math.inf

    @property
    def rose(self) -> bool:
        """Whether the loss rose by half of its fall after its least value, or was not finite at the end."""
        return self.diverged or bool((self.depth[self.lowest :] < EDGE_DEPTH).any())

    @property
    def risen(self) -> float:
        """The rise of the smooth loss after its least value, as a share of the fall."""
        return float(self.smoothed[self.lowest :].max() - self.least_loss) / self.fall

    @property
    def ends_falling(self) -> bool:
        """Whether the loss was still near its least value when it became infinite or NaN."""
        return self.diverged and bool(self.lrs[-1] < self.lrs[self.lowest] * 10**BANDWIDTH)

    @property
    def explosion(self) -> float | None:
        """The first lr at which the smooth loss is `EXPLODED` times the start's, or the last before an infinite loss.

        None if there is neither. Losses are clipped at twice that, so that one batch does not decide. Unlike the basin,
        an explosion can be told even if the loss never fell.
        """
        smoothed = smooth(self.lrs, np.minimum(self.losses, 2 * EXPLODED * self.start_loss))
        exploded = np.flatnonzero(smoothed > EXPLODED * self.start_loss)
        if self.start_loss > 0 and len(exploded):
            return float(self.lrs[exploded[0]])
        return float(self.lrs[-1]) if self.diverged else None

    @property
    def depth(self) -> Columns:
        """The depth of each step: 0 at or above the start's loss, 1 at the least loss; all 0 if the loss never fell."""
        if self.fall <= 0:
            return np.zeros_like(self.smoothed)
        return np.clip((self.start_loss - self.smoothed) / self.fall, 0, 1)

    def quantile(self, share: float) -> float:
        """Returns the lr below which this share of the basin lies: of its squared depth over log lr."""
        weights = self._weights
        below = np.cumsum(weights) - weights / 2
        return float(np.exp(np.interp(share, below / weights.sum(), np.log(self.lrs))))

    @property
    def middle(self) -> float:
        """The mean of log lr weighted by squared depth, as an lr."""
        return float(np.exp(np.average(np.log(self.lrs), weights=self._weights)))

    @property
    def edges(self) -> tuple[float, float]:
        """The first and the last lr at which the loss has fallen by half of its fall or more."""
        deep = np.flatnonzero(self.depth >= EDGE_DEPTH)
        return float(self.lrs[deep[0]]), float(self.lrs[deep[-1]])

    @property
    def pace(self) -> float:
        """The sum of the lrs up to the first edge, divided by the lr there: a measure of the steps per lr.

        In an exponential test, it is about the number of steps in which lr grows by a factor of e.
        """
        first = int((self.depth >= EDGE_DEPTH).argmax())
        return float(self.lrs[: first + 1].sum() / self.lrs[first])

    @property
    def ridge(self) -> tuple[float, float, float] | None:
        """The lrs of the least losses of two basins with that of the top between them; None if there is one basin.

        There are two basins if the loss falls by three quarters of its fall, rises above a quarter, and falls by three
        quarters again. The order is: first basin, top, second basin.
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
    """Builds the basin of a test's finite steps, in ascending order of lr; `diverged` if the next step was not finite.

    Losses above the start are clipped as far above the start as the loss falls below it: the height of an explosion has
    no meaning, and smoothing would spread it into the basin.
    """
    start_steps = max(FEWEST_START_STEPS, int((lrs <= lrs[0] * (lrs[-1] / lrs[0]) ** START_SHARE).sum()))
    start_loss = float(np.median(losses[:start_steps]))
    ceiling = start_loss + max(0.0, start_loss - float(np.quantile(losses, 0.05)))
    smoothed = smooth(lrs, np.minimum(losses, ceiling))
    return Basin(lrs, losses, smoothed, start_steps, start_loss, diverged)


def smooth(lrs: Columns, losses: Columns) -> Columns:
    """Smooths the losses with a Gaussian mean over log lr; the mean is symmetric and does not shift the curve."""
    decades = np.log10(lrs)
    weights = np.exp(-0.5 * ((decades[:, None] - decades) / BANDWIDTH) ** 2)
    smoothed: Columns = weights @ losses / weights.sum(axis=1)
    return smoothed


@dataclass(frozen=True)
class Shape:
    """The smooth curves of range tests for a figure: their median, and the lowest and highest of the single tests."""

    lrs: Columns
    median: Columns
    low: Columns
    high: Columns


def shape_of(curves: Sequence[Curve]) -> Shape:
    """Returns the shape of range tests over the same lrs, up to the last step with a finite median."""
    lrs, losses, diverged = median_curve(curves)
    if not len(lrs):
        return Shape(lrs, losses, losses, losses)
    single = [median_curve([curve]) for curve in curves]
    each = [basin_of(*columns, diverged=ended).smoothed for *columns, ended in single if len(columns[0])]
    rows = np.array([np.interp(np.arange(len(lrs)), np.arange(len(row)), row) for row in each])
    return Shape(lrs, basin_of(lrs, losses, diverged=diverged).smoothed, rows.min(axis=0), rows.max(axis=0))


def has_risen(curve: Curve) -> bool:
    """Whether a range test has passed its basin, so that it needs no higher lr."""
    lrs, losses, diverged = median_curve([curve])
    return diverged or (len(lrs) >= FEWEST_POINTS and basin_of(lrs, losses, diverged=False).rose)


ONSET_RISE = 0.05
"""The share of the fall by which the loss must rise above its least value to count as taking off."""


@dataclass(frozen=True)
class Turn:
    """The lrs at which a range test turns.

    `argmin_lr` has the least loss, `onset_lr` is the lr at which the loss takes off (None if it never does), and
    `reach_lr` is the last lr at which the loss is below half of its fall.
    """

    argmin_lr: float
    onset_lr: float | None
    reach_lr: float


def turn_of(curves: Sequence[Curve]) -> Turn | None:
    """Returns the turn of the median curve; None if it has too few finite steps, or never fell."""
    lrs, losses, diverged = median_curve(curves)
    if len(lrs) < FEWEST_POINTS:
        return None
    basin = basin_of(lrs, losses, diverged=diverged)
    if basin.fall <= 0:
        return None
    above = np.flatnonzero(basin.smoothed[basin.lowest :] > basin.least_loss + ONSET_RISE * basin.fall)
    onset = float(lrs[basin.lowest + above[0]]) if len(above) else None
    return Turn(float(lrs[basin.lowest]), onset, basin.edges[1])
