"""The part of a curve that a figure shows."""

from collections.abc import Sequence


def loss_limits(losses: Sequence[float], low: float) -> tuple[float, float]:
    """Returns the least and the highest loss in view, so that an explosion does not flatten the rest of the curve.

    The view begins at `low`. It ends as far above the first loss as that is above `low`, or at the highest loss if that
    is lower. All losses are finite.
    """
    return low, min(max(losses), losses[0] + max(losses[0] - low, 0.1))
