"""Verification of a suggestion by short cycles around it: which ones to train, and what they say. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from onecycle_cli.analysis.lr_range.curve import Columns, significant
from onecycle_cli.analysis.lr_range.error_bar import Confidence, error_bar
from onecycle_cli.analysis.lr_range.suggestion import Suggestion

FIVE, THREE = (1 / 9, 1 / 3, 1.0, 3.0, 9.0), (1 / 3, 1.0, 3.0)
"""The multiples of the suggested max_lr that are tried first; three if cycles of five would be too short."""

TRUST, HIGHEST_RISE = 0.25, 1.5
"""The share of the way, in log lr, that a suggestion moves towards the best lr of its cycles, and the largest factor by
which it rises.

The best max_lr of a short cycle is often too high for a whole run, and a step towards a cliff costs more than one away
from it. On the tasks "first" and "fitted" of benchmarks/suggestion, other values lost more: with half of the way and no
limit, up to 15 points.
"""

CLIFF = 1.5
"""The multiple of the least loss at which losses are clipped: higher ones show where not to go, but not how steep the
way is."""

ALIKE = 0.02
"""The largest spread of losses, as a share of the least, that counts as no difference: the cycles were too short to
learn."""


@dataclass(frozen=True)
class PlannedCycle:
    """A short cycle to train: its peak and its length."""

    max_lr: float
    steps: int


@dataclass(frozen=True)
class VerificationCycle:
    """The result of a short cycle: its peak, its length, and its validation scores, which are NaN if it diverged."""

    max_lr: float
    steps: int
    valid_loss: float
    valid_accuracy: float

    @property
    def loss(self) -> float:
        """The validation loss; infinite if the cycle diverged."""
        return self.valid_loss if math.isfinite(self.valid_loss) else math.inf


def next_cycles(
    suggestion: Suggestion, done: Sequence[VerificationCycle], *, total_steps: int, budget: float, fewest_steps: int
) -> list[PlannedCycle]:
    """Returns the next round of cycles, after all cycles that are `done`; empty if there is none.

    All rounds together take at most `budget` times the `total_steps` of the planned run. Half of that is for five
    cycles around the suggestion, the other half for two longer ones: at the best of the five, and between it and its
    better neighbour. If five cycles would have fewer than `fewest_steps` each, three cycles take the whole budget.
    """
    assert suggestion.max_lr is not None
    steps = budget * total_steps
    first, each = (FIVE, int(steps / 10)) if steps / 10 >= fewest_steps else (THREE, min(int(steps / 3), total_steps))
    if not done:
        return [PlannedCycle(factor * suggestion.max_lr, each) for factor in first] if each >= fewest_steps else []
    if first is THREE or len(done) != len(FIVE) or not any(math.isfinite(cycle.loss) for cycle in done):
        return []
    ordered = sorted(done, key=lambda cycle: cycle.max_lr)
    best = min(range(len(ordered)), key=lambda i: ordered[i].loss)
    neighbour = min(ordered[max(best - 1, 0) : best] + ordered[best + 1 : best + 2], key=lambda cycle: cycle.loss)
    between = math.sqrt(ordered[best].max_lr * neighbour.max_lr)
    return [PlannedCycle(max_lr, int(steps / 4)) for max_lr in (ordered[best].max_lr, between)]


def verified(suggestion: Suggestion, cycles: Sequence[VerificationCycle], *, div_factor: float) -> Suggestion:
    """Returns `suggestion`, moved a quarter of the way, in log lr, towards the best max_lr of its short cycles.

    The best max_lr is where a parabola through the validation losses over log lr has its minimum. The suggestion rises
    by at most `HIGHEST_RISE`. Confidence is low if the cycle at the suggestion itself diverged or was far from the
    best.
    """
    assert suggestion.max_lr is not None
    assert suggestion.conservative_max_lr is not None
    assert suggestion.confidence is not None
    rounds = _rounds(cycles)
    reason = f"{suggestion.reason} C{'; c'.join(one.told.removeprefix('c') for one in rounds)}"
    scored = [one for one in rounds if math.isfinite(one.least)]
    if not scored:
        low = f"{reason}: take conservative_max_lr, or look at the figure."
        return replace(suggestion, confidence="low", reason=low, **vars(error_bar(suggestion.max_lr, "low")))
    cliff = _on_a_cliff(rounds, suggestion.max_lr)
    sure: Confidence = "low" if cliff else suggestion.confidence
    doubt = " The cycle nearest to it diverged, or was far worse than the best." if cliff else ""
    if all(np.ptp(one.relative) <= ALIKE for one in scored):
        reason = f"{reason}: too similar to move the suggestion.{doubt}"
        return replace(suggestion, confidence=sure, reason=reason, **vars(error_bar(suggestion.max_lr, sure)))
    factor = min((_pointed_at(scored, suggestion.max_lr) / suggestion.max_lr) ** TRUST, HIGHEST_RISE)
    max_lr = significant(factor * suggestion.max_lr)
    moved = f"moved it from {suggestion.max_lr:g}" if max_lr != suggestion.max_lr else "did not move it"
    return replace(
        suggestion,
        max_lr=max_lr,
        conservative_max_lr=significant(factor * suggestion.conservative_max_lr),
        initial_lr=significant(factor * suggestion.max_lr / div_factor),
        confidence=sure,
        rule=f"{suggestion.rule}, verified",
        reason=f"{reason}, and {moved}.{doubt}",
        **vars(error_bar(max_lr, sure)),
    )


@dataclass(frozen=True)
class _Round:
    """The cycles of one length, in ascending order of max_lr."""

    steps: int
    max_lrs: Columns
    losses: Columns

    @property
    def least(self) -> float:
        return float(self.losses.min())

    @property
    def relative(self) -> Columns:
        """The losses as multiples of the least one, at most `CLIFF`. Rounds of other lengths have other losses."""
        if not self.least:
            return np.where(self.losses > 0, CLIFF, 1.0)
        clipped: Columns = np.minimum(self.losses, CLIFF * self.least) / self.least
        return clipped

    @property
    def around_best(self) -> slice:
        """Three cycles in a row, around the best one: a loss is a parabola near its minimum only."""
        start = max(0, min(int(self.losses.argmin()) - 1, len(self.losses) - 3))
        return slice(start, start + 3)

    @property
    def told(self) -> str:
        losses = ", ".join(
            (f"{loss:.4g}" if math.isfinite(loss) else "none, diverged,") + f" at lr {max_lr:.3g}"
            for max_lr, loss in zip(self.max_lrs, self.losses, strict=True)
        )
        return f"cycles of {self.steps} steps had validation losses of {losses}"


def _rounds(cycles: Sequence[VerificationCycle]) -> list[_Round]:
    """Returns the rounds, the shortest cycles first.

    Older versions wrote the steps before a cycle diverged, not its length: it is of the shortest round that it fits.
    """
    lengths = sorted({cycle.steps for cycle in cycles if math.isfinite(cycle.loss)})
    rounds: dict[int, list[VerificationCycle]] = {}
    for cycle in sorted(cycles, key=lambda cycle: cycle.max_lr):
        steps = next((length for length in lengths if length >= cycle.steps), cycle.steps)
        rounds.setdefault(steps, []).append(cycle)
    return [
        _Round(steps, np.array([one.max_lr for one in rounds[steps]]), np.array([one.loss for one in rounds[steps]]))
        for steps in sorted(rounds)
    ]


def _pointed_at(rounds: Sequence[_Round], center: float) -> float:
    """Returns the lr of the minimum of a parabola over log lr, within its cycles, or the best lr of the longest ones.

    It is fitted to the cycles around the best of each round. All rounds have the same parabola, each at a height of its
    own. A cycle counts by its steps. Fewer than three cycles, of a run that was stopped, point nowhere: at `center`.
    """
    if sum(len(one.losses) for one in rounds) < 3:
        return center
    logs = [np.log(one.max_lrs[one.around_best] / center) for one in rounds]
    heights = np.repeat(np.eye(len(rounds)), [len(one) for one in logs], axis=0)
    x, y = np.concatenate(logs), np.concatenate([one.relative[one.around_best] for one in rounds])
    weights = np.sqrt(heights @ [one.steps for one in rounds])
    design = np.column_stack([x**2, x, heights])
    (curvature, slope, *_), *_ = np.linalg.lstsq(design * weights[:, None], y * weights, rcond=None)
    if curvature <= 0:
        return float(rounds[-1].max_lrs[rounds[-1].losses.argmin()])
    return float(center * np.exp(np.clip(-slope / 2 / curvature, x.min(), x.max())))


def _on_a_cliff(rounds: Sequence[_Round], max_lr: float) -> bool:
    """Whether the longest of the cycles nearest to `max_lr` diverged, or was far from the best of its length."""
    distances = [np.abs(np.log(one.max_lrs / max_lr)) for one in rounds]
    nearest = min(float(each.min()) for each in distances)
    one, each = [pair for pair in zip(rounds, distances, strict=True) if pair[1].min() <= nearest + 1e-6][-1]
    loss = float(one.losses[each.argmin()])
    return not math.isfinite(loss) or (loss > one.least and loss >= CLIFF * one.least)
