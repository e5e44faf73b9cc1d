"""Weight decay choice from a sweep of range tests. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WITHIN = 1.3
"""The factor from the highest reach within which a weight decay still counts as allowing a high lr."""

MOST_SHRINKAGE = 1e-3
"""The largest share of the weights that weight decay may remove in one step at the peak of the cycle.

The seed experiment has 5e-4 (weight decay 1e-4, max_lr 0.8, momentum 0.85). On the tasks of benchmarks/suggestion, runs
with 1e-3 lost one point of accuracy against smaller shares, and runs with 3e-3 lost four or more.
"""


@dataclass(frozen=True)
class SweepRow:
    """A row of `sweep.csv`: the range test with one weight decay.

    `argmin_lr` is the lr of the least smooth loss, `onset_lr` the lr where the loss starts to rise steeply, `reach_lr`
    the highest lr at which the loss is below half of its fall, and `stop_lr` the last lr before the loss stopped the
    test. Each is None if the curve has no such point.
    """

    weight_decay: float
    argmin_lr: float | None
    onset_lr: float | None
    reach_lr: float | None
    stop_lr: float | None
    max_lr: float | None
    status: str


@dataclass(frozen=True)
class WeightDecayChoice:
    """The chosen weight decay (None if no row gave a suggestion), and a sentence with the numbers that decided it."""

    chosen: SweepRow | None
    reason: str


def read_weight_decay(rows: Sequence[SweepRow], gain: float) -> WeightDecayChoice:
    """Chooses the largest weight decay that still allows a high lr: its reach is within a factor of 1.3 of the highest.

    Source: Gugger's reading of Smith ("pick the largest one that will still let us train at a high maximum learning
    rate"), made exact. The reach separates the curves best: the least loss and the onset can lie anywhere in a flat
    basin, and where a test stops depends on its averaging. A test of a hundred steps ends before weight decay itself
    has an effect, so there is a second condition: one step at the peak removes the share `gain x max_lr x weight_decay`
    of the weights, which must be at most a thousandth (`MOST_SHRINKAGE`). `gain` is 1 / (1 - momentum) for SGD, 1 for
    AdamW. docs/suggestion.md describes the evaluation.
    """
    usable = sorted((row for row in rows if row.max_lr and row.reach_lr), key=lambda row: row.weight_decay)
    if not usable:
        return WeightDecayChoice(None, "No weight decay gave a curve with a readable max_lr.")
    light = [row for row in usable if gain * (row.max_lr or 0) * row.weight_decay <= MOST_SHRINKAGE]
    heavy = ", ".join(f"{row.weight_decay:g}" for row in usable if row not in light)
    told = f"would remove over {MOST_SHRINKAGE:.1%} of the weights in one step at the peak"
    if not light:
        return WeightDecayChoice(usable[0], f"The smallest: all of them ({heavy}) {told}. Try smaller ones.")
    highest = max(row.reach_lr or 0 for row in light)
    chosen = [row for row in light if (row.reach_lr or 0) * WITHIN >= highest][-1]
    listed = ", ".join(f"{row.reach_lr:.3g} at {row.weight_decay:g}" for row in light)
    return WeightDecayChoice(
        chosen,
        (f"Left out: {heavy}, which {told}. Of the rest, the" if heavy else "The")
        + " largest whose reach, the highest lr with the loss below half of its fall, is within a factor of "
        f"{WITHIN:g} of the highest. Reaches: {listed}.",
    )


def bisected(weight_decays: Sequence[float], chosen: float) -> list[float]:
    """Returns the values halfway between `chosen` and its neighbours on a log scale, without those already tried.

    Source: Smith's report, section 4.4: after finding the best of 1e-3, 1e-4 and 1e-5, bisect the exponent. A neighbour
    of 0 has no exponent and is skipped.
    """
    values = sorted(weight_decays)
    at = values.index(chosen)
    near = [values[i] for i in (at - 1, at + 1) if 0 <= i < len(values)]
    between = [float(f"{math.sqrt(chosen * value):.3g}") for value in near if chosen * value > 0]
    return [value for value in between if value not in values]
