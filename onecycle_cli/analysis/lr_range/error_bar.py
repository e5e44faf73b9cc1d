"""The error bar of a suggestion: how much accuracy a run at the suggested `max_lr` probably loses against the best one.

Measured, not derived: docs/suggestion.md describes the tasks, and how well the bound holds on others.
"""

from dataclasses import dataclass
from typing import Literal

Confidence = Literal["high", "medium", "low"]

HIGH_AT_MOST, MEDIUM_AT_MOST = 1.0, 2.0
"""The largest bounds, in percentage points of accuracy, of high and of medium confidence."""


@dataclass(frozen=True)
class ErrorBar:
    """What a suggestion may lose, in percentage points of accuracy, and the lrs among which the best max_lr is.

    `expected_points_lost` is the mean; with a probability of 90 %, the loss is at most `points_lost_90`, and a max_lr
    that loses nothing is from `lowest_max_lr` to `highest_max_lr`.
    """

    expected_points_lost: float
    points_lost_90: float
    lowest_max_lr: float
    highest_max_lr: float

    @property
    def confidence(self) -> Confidence:
        """The bound as a word."""
        if self.points_lost_90 <= HIGH_AT_MOST:
            return "high"
        return "medium" if self.points_lost_90 <= MEDIUM_AT_MOST else "low"
