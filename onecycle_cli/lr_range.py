"""Reading a learning rate range test: a curve in, a suggested `max_lr` with its reason out.

Pure, and free of torch: a suggestion can be computed again from `lr_range.csv` on any machine. A curve is two columns
of equal length, the lr of each step in ascending order and the loss that step saw.

The rules of other libraries stand beside ours for comparison. They follow what those libraries compute (the formulas
are in each docstring), since a user wants to know what the tool he came from would have said.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Columns = NDArray[np.float64]

FEWEST_POINTS = 10
"""Below this a curve has no shape that could be read."""

ONSET_RISE = 0.05
"""The loss has taken off when it is this share of its whole fall above its least value."""

LEAST_FALL = 2.0
"""A fall of the average, from the median of the first tenth of the steps, must be this many times the noise of a batch.

Simulated without any fall (2,000 curves each of 40, 100 and 400 steps, smoothing 0.9 and 0.98), at most 1 % pass.
Digits with ResNet-8, 100 steps at batch 32, have 3.9 and more.
"""


@dataclass(frozen=True)
class Suggestion:
    """What a range test says. `max_lr` and `initial_lr` are None where no number can be trusted; `reason` says why."""

    max_lr: float | None
    initial_lr: float | None
    rule: str
    reason: str
    peers: dict[str, float | None]


def smoother(smoothing: float) -> Callable[[float], float]:
    """A function that takes one loss after another and gives their bias-corrected exponential moving average.

    `average_i = smoothing x average_(i-1) + (1 - smoothing) x loss_i`, divided by `1 - smoothing ** (i + 1)`.
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


def onset_index(smoothed: Columns) -> int | None:
    """The first step after the least smoothed loss that is `ONSET_RISE` of the fall above it; None where it never is.

    The fall is taken from the first value, so that adding a constant to the loss, or scaling it, moves nothing.
    """
    lowest = int(smoothed.argmin())
    threshold = smoothed[lowest] + ONSET_RISE * (smoothed[0] - smoothed[lowest])
    above = np.flatnonzero(smoothed[lowest:] > threshold)
    return lowest + int(above[0]) if len(above) else None


def steep(lrs: Columns, smoothed: Columns) -> float:
    """fastai `steep`: the lr at the most negative forward slope of the loss over ln(lr)."""
    return float(lrs[np.argmin(np.diff(smoothed) / np.diff(np.log(lrs)))])


def minimum(lrs: Columns, smoothed: Columns) -> float:
    """fastai `minimum`: a tenth of the lr at the least loss."""
    return float(lrs[smoothed.argmin()]) / 10


def valley(lrs: Columns, smoothed: Columns) -> float:
    """fastai `valley`: about the middle of the longest decreasing subsequence (not contiguous) of the loss.

    Its end is the first index at which the greatest length is reached; its start is taken as `end - length`, an
    estimate that may be -1 (the last point, as an index). The answer is at `start + int(w) + int(w / 2)`, with w a
    third of the way from start to end.
    """
    lengths = np.ones(len(smoothed), dtype=np.int64)
    for i in range(1, len(smoothed)):
        longer = lengths[:i][smoothed[:i] > smoothed[i]]
        lengths[i] = 1 + (longer.max() if len(longer) else 0)
    end = int(lengths.argmax())
    # fastai keeps the start that it saw first, and never moves from (0, 0) where nothing decreases.
    start = end - int(lengths[end]) if end else 0
    third = (end - start) / 3
    return float(lrs[start + int(third) + int(third / 2)])


def slide(lrs: Columns, smoothed: Columns) -> float:
    """fastai `slide`: a window of 15 steps slides left from the end until the slopes at its ends are within 0.005.

    The slope is per step, not per lr. The answer is the lr at the left edge before that.
    """
    slope = np.gradient(smoothed)
    right, width, threshold = -1, 15, 0.005
    answer = lrs[right - width]
    while right - width >= -len(smoothed) and abs(slope[right] - slope[right - width]) > threshold:
        answer = lrs[right - width]
        right -= 1
    return float(answer)


PEERS = {"steep": steep, "valley": valley, "slide": slide, "minimum": minimum}


def peer_answers(lrs: Columns, smoothed: Columns) -> dict[str, float | None]:
    """What fastai's rules say, on the part of the curve that fastai looks at; None where a rule needs more points.

    fastai drops the first tenth of the steps and the last five.
    """
    kept = slice(len(lrs) // 10, -5)
    lrs, smoothed = lrs[kept], smoothed[kept]
    # `slide` looks 16 points back from the last.
    fewest = {"steep": 2, "valley": 1, "slide": 16, "minimum": 1}
    return {name: rule(lrs, smoothed) if len(lrs) >= fewest[name] else None for name, rule in PEERS.items()}


def noise(losses: Columns) -> float:
    """A robust standard deviation of the batch-to-batch noise: the median absolute difference of neighbours.

    For normal noise that median is 0.6745 x sqrt(2) of a standard deviation; a late explosion hardly moves it.
    """
    return float(np.median(np.abs(np.diff(losses)))) / (0.6745 * math.sqrt(2))


def distrust(losses: Columns, smoothed: Columns) -> str | None:
    """Why no learning rate can be read from this curve, as a sentence; None where one can.

    `losses` and `smoothed` hold the finite steps alone, up to where the test ended.
    """
    if len(losses) == 0:
        return "The loss was not finite at the first step: the model or the data are broken, not the learning rate."
    if len(losses) < FEWEST_POINTS:
        return f"The test ended after {len(losses)} steps, too few to read a curve from: lower find_lr.start_lr."
    early = max(1, len(losses) // 10)
    start, lowest = float(np.median(losses[:early])), early + int(smoothed[early:].argmin())
    if start - smoothed[lowest] <= LEAST_FALL * noise(losses[: lowest + 1]):
        return (
            f"The loss never fell: its average went from {start:.4g} to {smoothed[lowest]:.4g} at best, which the "
            f"noise of single batches ({noise(losses[: lowest + 1]):.2g}) explains."
        )
    if onset_index(smoothed) is None:
        return "The loss never rose after its least value: raise find_lr.end_lr."
    return None


def significant(number: float) -> float:
    """`number` to three significant digits: more would promise what a range test cannot tell."""
    return float(f"{number:.3g}")


def suggest(
    lrs: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], *, div_factor: float
) -> Suggestion:
    """Reads the `max_lr` of a 1cycle run from a range test, by the rule `onset`.

    The rule is the seed experiment's own: one tenth of the point where the loss takes off (see `onset_index`).
    `initial_lr` is `max_lr / div_factor`. A last row that is not finite is left out of the reading.
    """
    finite = np.isfinite(losses) & np.isfinite(smoothed)
    end = len(finite) if finite.all() else int(finite.argmin())
    lr_column, loss_column, smoothed_column = (
        np.asarray(column, dtype=float)[:end] for column in (lrs, losses, smoothed)
    )
    peers = {
        name: significant(lr) if lr is not None else None
        for name, lr in peer_answers(lr_column, smoothed_column).items()
    }
    doubt = distrust(loss_column, smoothed_column)
    if doubt is not None:
        return Suggestion(None, None, "onset", doubt, peers)
    onset = onset_index(smoothed_column)
    assert onset is not None  # distrust() refuses a curve without one
    lowest = int(smoothed_column.argmin())
    max_lr = significant(lr_column[onset] / 10)
    reason = (
        f"A tenth of lr {lr_column[onset]:.3g}, where the smoothed loss ({smoothed_column[onset]:.4g}) is first "
        f"{ONSET_RISE:.0%} of its fall above its least value "
        f"({smoothed_column[lowest]:.4g} at lr {lr_column[lowest]:.3g})."
    )
    return Suggestion(max_lr, significant(max_lr / div_factor), "onset", reason, peers)
