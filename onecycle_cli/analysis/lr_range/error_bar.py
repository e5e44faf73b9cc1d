"""The error bar of a suggestion: how much accuracy a run at the suggested `max_lr` probably loses against the best one.

Measured, not derived: docs/suggestion.md describes the tasks, and how well the bound holds on others.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

from onecycle_cli.analysis.lr_range.basin import Basin

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

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> Self | None:
        """Returns the error bar in a suggestion's values; None if it has no max_lr, or is of an older version."""
        values: list[Any] = [saved.get(field.name) for field in fields(cls)]
        return None if None in values else cls(*values)

    @property
    def told(self) -> str:
        """What may be lost, as part of a sentence."""
        return (
            f"{self.expected_points_lost:.1f} points of accuracy, at most {self.points_lost_90:.1f} with 90 % "
            "probability"
        )

    @property
    def confidence(self) -> Confidence:
        """The bound as a word."""
        if self.points_lost_90 <= HIGH_AT_MOST:
            return "high"
        return "medium" if self.points_lost_90 <= MEDIUM_AT_MOST else "low"


def error_bar(max_lr: float, basin: Basin, *, spread: float | None, unread: int) -> ErrorBar:
    """Returns the error bar of a suggested `max_lr`.

    `spread` is the factor between the suggestions of single tests, `unread` the number of tests that gave none.

    A placeholder, until the numbers are measured: the bound is inversely proportional to the signal.
    """
    most = 14 / basin.signal + unread
    factor = 2 * math.sqrt(spread or 1)
    return ErrorBar(most / 4, most, max_lr / factor, max_lr * factor)


def told_max_lr(max_lr: float, confidence: str | None, bar: ErrorBar | None, reason: str) -> str:
    """Returns the sentences on a suggested max_lr, how reliable it is, and its reason."""
    return f"max_lr {max_lr:g}, confidence {confidence}{f', expected loss {bar.told}' if bar else ''}. {reason}"
