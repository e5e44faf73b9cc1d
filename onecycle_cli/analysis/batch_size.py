"""Batch size search, given a function that tries a size: the largest that fits, or the smallest that is fast. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

MULTIPLE = 8
"""The number that tried batch sizes are multiples of. A GPU multiplies matrices in tiles, which multiples of 8 fill."""

SMALLEST_FAST = 16
"""The first batch size whose speed is measured."""

MARGIN = 0.1
"""The share of the largest batch size that `with_margin` leaves free. Memory use differs a little between runs, and
other processes may need some."""

RESOLUTION = 32
"""The resolution of `largest_that_fits`: the search ends when the gap is at most 1/32 of the size, well within the
margin."""

GAIN = 0.05
"""The smallest relative gain in speed that counts. Medians of a few steps are no more exact than 5 %."""


def largest_that_fits(fits: Callable[[int], bool], limit: int) -> int | None:
    """Returns the largest batch size up to `limit` that fits, to within 1/32; None if the smallest does not fit.

    Sizes double from 8 until one does not fit; then the gap between the last size that fits and the first that does not
    is halved repeatedly. If `fits` is true up to some size and false above it, the returned size fits, and a size at
    most 1/32 or 8 larger was tried and does not fit.
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
    """Reduces the largest size that fits by a tenth, to a multiple of 8, but not below 8 if 8 fits."""
    return max(_multiple(int((1 - MARGIN) * largest)), min(MULTIPLE, largest))


def half(batch_size: int) -> int | None:
    """Halves a batch size that does not fit, to a multiple of 8; None if that is 0."""
    return _multiple(batch_size // 2) or None


FEWEST_BATCHES = 4
"""The fewest batches an epoch must have for its batch size to be tried; with fewer, a cycle has hardly any steps."""


def sizes_around(batch_size: int, factors: Sequence[float], images: int) -> list[int]:
    """Returns the batch size times each factor, if at least 8 and at most a fourth of an epoch's `images`."""
    sizes = [int(factor * batch_size) for factor in factors]
    return [size for size in sizes if size >= MULTIPLE and size * FEWEST_BATCHES <= images]


def epochs_in_equal_time(epochs: int, speed: float, other: float) -> int:
    """Returns the epochs at `other` images per second that take as long as `epochs` at `speed`; at least one."""
    return max(1, round(epochs * other / speed))


def _multiple(size: int) -> int:
    return size // MULTIPLE * MULTIPLE


@dataclass(frozen=True)
class Speed:
    """The measured training speed of one batch size."""

    batch_size: int
    images_per_second: float


def measured_speeds(images_per_second: Callable[[int], float | None], limit: int) -> list[Speed]:
    """Measures the speeds of batch sizes that double from 16 up to `limit`, as long as the speed grows.

    Stops after two sizes in a row without a gain over the fastest size before them, or at the first size that does not
    fit in memory (None).
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
    """Returns the smallest size whose speed is within `GAIN` of the best; `speeds` is in ascending order of size."""
    best = max(speed.images_per_second for speed in speeds)
    return next(speed for speed in speeds if (1 + GAIN) * speed.images_per_second >= best)
