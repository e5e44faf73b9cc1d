"""Thinning of long curves for a figure: fewer points that keep the peaks. Pure."""

import math
from collections.abc import Sequence

FEWEST = 4
"""The fewest points that a curve is thinned to."""


def thinned(values: Sequence[float | None], most: int) -> list[int]:
    """Returns the positions, ascending, of at most `most` values that show the curve: all of them if there are no more.

    The curve is cut into equal parts, and of each part the lowest and the highest value stay, so that no peak is lost.
    The first and the last value stay too. None, NaN and infinite values are never the lowest or the highest; the first
    of each part with nothing else stays, so that a gap stays a gap.
    """
    most = max(most, FEWEST)
    if len(values) <= most:
        return list(range(len(values)))
    parts = (most - 2) // 2
    kept = {0, len(values) - 1}
    for part in range(parts):
        inside = range(len(values) * part // parts, len(values) * (part + 1) // parts)
        finite = [(value, i) for i in inside if (value := values[i]) is not None and math.isfinite(value)]
        kept |= {min(finite)[1], max(finite)[1]} if finite else {inside[0]}
    return sorted(kept)
