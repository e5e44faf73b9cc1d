"""Reading a sweep: which of several range tests allows the most. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WITHIN = 1.3
"""A weight decay allows a high lr when its reach is within this factor of the highest."""


MOST_SHRINKAGE = 1e-3
"""The share of the weights that a weight decay may take in a step at the peak of the cycle.

The seed experiment has 5e-4 (weight decay 1e-4, max_lr 0.8, momentum 0.85). On the tasks of benchmarks/suggestion runs
with 1e-3 lost one point against less, and with 3e-3 from four on.
"""


@dataclass(frozen=True)
class SweepRow:
    """One weight decay of a sweep, as `sweep.csv` has it.

    `argmin_lr` is the lr at the least smooth loss, `onset_lr` the one where the loss takes off, `reach_lr` the highest
    at which it lies below half of its fall, and `stop_lr` the last one before the loss stopped the test. None where the
    curve has no such point.
    """

    weight_decay: float
    argmin_lr: float | None
    onset_lr: float | None
    reach_lr: float | None
    stop_lr: float | None
    max_lr: float | None
    status: str


@dataclass(frozen=True)
class Reading:
    """The chosen row (None where no value gave a suggestion), and the numbers that decided it in a sentence."""

    chosen: SweepRow | None
    reason: str


def read_weight_decay(rows: Sequence[SweepRow], gain: float) -> Reading:
    """The largest weight decay that still allows a high lr: its reach is within a factor of 1.3 of the highest.

    Source: Gugger's reading of Smith ("pick the largest one that will still let us train at a high maximum learning
    rate"), made exact. The reach is what tells curves apart: the least loss and the onset lie anywhere in a flat basin,
    and where a test is stopped depends on how it averages. A test of a hundred steps ends before the decay itself is
    felt, so one more thing is asked: at the peak, `gain x max_lr x weight_decay` of the weights is taken in a step, and
    that is at most a thousandth. `gain` is 1 / (1 - momentum) for SGD, 1 for AdamW. How this was judged is told in
    docs/suggestion.md.
    """
    usable = sorted((row for row in rows if row.max_lr and row.reach_lr), key=lambda row: row.weight_decay)
    if not usable:
        return Reading(None, "No weight decay gave a curve that a max_lr can be read from.")
    light = [row for row in usable if gain * (row.max_lr or 0) * row.weight_decay <= MOST_SHRINKAGE]
    heavy = ", ".join(f"{row.weight_decay:g}" for row in usable if row not in light)
    told = f"would take over {MOST_SHRINKAGE:.1%} of the weights in a step at the peak"
    if not light:
        return Reading(usable[0], f"The smallest: all of them ({heavy}) {told}. Try smaller ones.")
    highest = max(row.reach_lr or 0 for row in light)
    chosen = [row for row in light if (row.reach_lr or 0) * WITHIN >= highest][-1]
    listed = ", ".join(f"{row.reach_lr:.3g} at {row.weight_decay:g}" for row in light)
    return Reading(
        chosen,
        (f"Left out: {heavy}, which {told}. Of the rest, the" if heavy else "The")
        + " largest whose reach, the highest lr with the loss below half of its fall, is within a factor of "
        f"{WITHIN:g} of the highest. Reaches: {listed}.",
    )


def bisected(weight_decays: Sequence[float], chosen: float) -> list[float]:
    """The values half-way between the chosen one and its neighbours, on the scale of the exponent.

    Source: Smith's report, section 4.4: having found the best of 1e-3, 1e-4 and 1e-5, bisect the exponent. There is
    no exponent between a value and 0.
    """
    values = sorted(weight_decays)
    at = values.index(chosen)
    near = [values[i] for i in (at - 1, at + 1) if 0 <= i < len(values)]
    between = [float(f"{math.sqrt(chosen * value):.3g}") for value in near if chosen * value > 0]
    return [value for value in between if value not in values]
