"""Reading a sweep: which of several range tests allows the most. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WITHIN = 2.0
"""A stop lr counts as high when it is within this factor of the highest one."""


@dataclass(frozen=True)
class SweepRow:
    """One range test of a weight decay sweep, as `sweep.csv` has it.

    `argmin_lr` is the lr at the least smoothed loss, `onset_lr` the one where the loss took off, `stop_lr` the last one
    before the loss stopped the test. None where the curve has no such point.
    """

    weight_decay: float
    argmin_lr: float | None
    onset_lr: float | None
    stop_lr: float | None
    max_lr: float | None
    status: str


@dataclass(frozen=True)
class Reading:
    """The chosen row (None where no value gave a suggestion), and the numbers that decided it in a sentence."""

    chosen: SweepRow | None
    reason: str


def read_weight_decay(rows: Sequence[SweepRow]) -> Reading:
    """The largest weight decay that still allows a high max_lr: its stop lr is within a factor of two of the highest.

    Source: Gugger's reading of Smith ("pick the largest one that will still let us train at a high maximum learning
    rate"), made exact. On the seed's overlay (8.2, 9.0 and 20.7 for 1e-2, 1e-3 and 1e-4) it reads 1e-4. Where a test
    came to its end before its loss stopped it, how far it would have gone is not known, and the onsets are compared.
    """
    usable = [row for row in rows if row.max_lr is not None]
    if not usable:
        return Reading(None, "No weight decay gave a curve that a max_lr can be read from.")
    stopped = all(row.stop_lr is not None for row in usable)
    name = "stop lr" if stopped else "onset lr"
    lrs = {row: (row.stop_lr if stopped else row.onset_lr) or 0.0 for row in usable}
    highest = max(lrs.values())
    chosen = max((row for row in usable if lrs[row] * WITHIN >= highest), key=lambda row: row.weight_decay)
    listed = ", ".join(f"{lr:.3g} at {row.weight_decay:g}" for row, lr in lrs.items())
    return Reading(
        chosen,
        f"The largest weight decay whose {name} ({lrs[chosen]:.3g}) is within a factor of {WITHIN:g} of the highest "
        f"({highest:.3g}). {name.capitalize()}s: {listed}."
        + ("" if stopped else " Not every test went on until its loss stopped it, so onsets are compared."),
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
