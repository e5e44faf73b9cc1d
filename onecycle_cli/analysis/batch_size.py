"""Searching for a batch size, given what tries one: the largest that fits, or the smallest that is fast. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

MULTIPLE = 8
"""A GPU multiplies matrices in tiles; sizes that are multiples of 8 fill them."""

SMALLEST_FAST = 16
"""The first size whose speed is measured."""

MARGIN = 0.1
"""Of the largest batch that fits, that is left free: memory is a little different in each run, and others may use some.
"""

RESOLUTION = 32
"""The search ends with sizes that are nearer to each other than a 32nd, well within the margin."""

GAIN = 0.05
"""A speed that is less than 5 % higher is no gain; medians of a few steps are not more exact."""


def largest_that_fits(fits: Callable[[int], bool], limit: int) -> int | None:
    """The largest batch size that fits, to a 32nd, at most `limit`; None where the smallest does not.

    Sizes double from 8 until one does not fit, then the gap between the last that did and that one is halved. With
    `fits` true up to some size and false beyond, what comes is a size that fits, and the next one that was tried, at
    most a 32nd or 8 above it, does not.
    """
    size, fit = min(MULTIPLE, limit), None
    while fits(size):
        fit = size
        if fit == limit:
            return fit
        size = min(2 * size, limit)
    if fit is None:
        return None
    too_large = size
    while too_large - fit > max(MULTIPLE, fit // RESOLUTION):
        middle = fit + max(MULTIPLE, _multiple((too_large - fit) // 2))
        if fits(middle):
            fit = middle
        else:
            too_large = middle
    return fit


def with_margin(largest: int) -> int:
    """A tenth less than the largest that fits, as a multiple of 8; no less than 8 where that fits."""
    return max(_multiple(int((1 - MARGIN) * largest)), min(MULTIPLE, largest))


def half(batch_size: int) -> int | None:
    """Half of a size that does not fit, as a multiple of 8; None where there is none smaller."""
    return _multiple(batch_size // 2) or None


FEWEST_BATCHES = 4
"""In an epoch of a batch size that is worth a training; with fewer a cycle has hardly any steps."""


def sizes_around(batch_size: int, factors: Sequence[float], images: int) -> list[int]:
    """The batch size times each of the factors, where that is no less than 8 and leaves an epoch some steps."""
    sizes = [int(factor * batch_size) for factor in factors]
    return [size for size in sizes if size >= MULTIPLE and size * FEWEST_BATCHES <= images]


def epochs_in_equal_time(epochs: int, speed: float, other: float) -> int:
    """The epochs at the `other` speed (images a second) that take as long as `epochs` at `speed`; at least one."""
    return max(1, round(epochs * other / speed))


def _multiple(size: int) -> int:
    return size // MULTIPLE * MULTIPLE


@dataclass(frozen=True)
class Speed:
    """What was measured of one batch size."""

    batch_size: int
    images_per_second: float


def measured_speeds(images_per_second: Callable[[int], float | None], limit: int) -> list[Speed]:
    """The speeds of sizes that double from 16, at most `limit`, as long as they grow.

    It ends where two sizes in a row brought no gain over the fastest before them, or where one does not fit in memory
    (None).
    """
    speeds: list[Speed] = []
    size, without_gain, best = min(SMALLEST_FAST, limit), 0, 0.0
    while size <= limit and without_gain < 2:
        speed = images_per_second(size)
        if speed is None:
            break
        speeds.append(Speed(size, speed))
        without_gain = 0 if speed >= (1 + GAIN) * best else without_gain + 1
        best = max(best, speed)
        size *= 2
    return speeds


def smallest_fast(speeds: Sequence[Speed]) -> Speed:
    """The smallest size that no other one gains on; `speeds` in ascending order of size."""
    best = max(speed.images_per_second for speed in speeds)
    return next(speed for speed in speeds if (1 + GAIN) * speed.images_per_second >= best)
