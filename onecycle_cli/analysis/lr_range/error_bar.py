"""The error bar of a suggestion: how much accuracy a run at the suggested `max_lr` probably loses against the best one.

Measured, not derived: docs/suggestion.md describes the tasks, and how well the bound holds on others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, Self

from onecycle_cli.analysis.lr_range.curve import significant

Confidence = Literal["high", "medium", "low"]


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
        most = f"at most {self.points_lost_90:.1f} with 90 % probability"
        return f"{self.expected_points_lost:.1f} points on average, {most}"


@dataclass(frozen=True)
class _Level:
    """What was measured of suggestions with the same confidence: points lost, and the factor to a best max_lr."""

    expected_points_lost: float
    points_lost_90: float
    factor_90: float


LEVELS: dict[Confidence, _Level] = {
    "high": _Level(0.2, 0.9, 1.5),
    "medium": _Level(0.5, 1.5, 2.0),
    "low": _Level(1.4, 4.5, 3.5),
}
"""The points that suggestions of each confidence lose.

On the tasks "first", "fitted" and "checked" of benchmarks/suggestion, they lost 0.1, 0.4 and 1.3 points on average, and
at most 0.3, 0.7 and 3.7 in 90 % of cases, with the same weight for each task. The levels are above that, because the
rule was chosen on these tasks. A max_lr is as good as the best one if it loses at most half a point."""


def error_bar(max_lr: float, confidence: Confidence) -> ErrorBar:
    """Returns the error bar of a suggested `max_lr` with this confidence."""
    level = LEVELS[confidence]
    lowest, highest = significant(max_lr / level.factor_90), significant(max_lr * level.factor_90)
    return ErrorBar(level.expected_points_lost, level.points_lost_90, lowest, highest)


def told_max_lr(max_lr: float, confidence: str | None, bar: ErrorBar | None, reason: str) -> str:
    """Returns the sentences on a suggested max_lr, how reliable it is, and its reason."""
    return f"max_lr {max_lr:g}, confidence {confidence}{f', accuracy lost {bar.told}' if bar else ''}. {reason}"
