"""What a schedule gives, and the two ways to get from one value to another."""

import math
from collections.abc import Callable
from typing import NamedTuple


class LrMomentum(NamedTuple):
    """The hyper-parameters of one update; `momentum` is SGD's momentum or Adam's beta1."""

    lr: float
    momentum: float


Schedule = Callable[[int], LrMomentum]


def linear(start: float, end: float, position: float) -> float:
    """From `start` at position 0 to `end` at position 1, in a straight line."""
    return start + (end - start) * position


def cosine(start: float, end: float, position: float) -> float:
    """From `start` at position 0 to `end` at position 1, along half a cosine."""
    return end + (start - end) / 2.0 * (1.0 + math.cos(math.pi * position))
