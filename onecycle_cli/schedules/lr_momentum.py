"""The result of a schedule, and the two ways to interpolate between values."""

import math
from collections.abc import Callable
from typing import NamedTuple


class LrMomentum(NamedTuple):
    """The learning rate and the momentum of one update. `momentum` is SGD's momentum or Adam's beta1."""

    lr: float
    momentum: float


Schedule = Callable[[int], LrMomentum]
"""A function from a step, counted from 0, to the lr and the momentum of its update."""


def linear(start: float, end: float, position: float) -> float:
    """Interpolates linearly from `start` at position 0 to `end` at position 1."""
    return start + (end - start) * position


def cosine(start: float, end: float, position: float) -> float:
    """Interpolates along half a cosine from `start` at position 0 to `end` at position 1."""
    return end + (start - end) / 2.0 * (1.0 + math.cos(math.pi * position))
