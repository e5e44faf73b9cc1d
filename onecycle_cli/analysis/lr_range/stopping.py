"""The rule that ends a range test, shared by `find-lr` and `RangeTest`."""

from typing import Literal

from onecycle_cli.analysis.lr_range.basin import has_risen
from onecycle_cli.analysis.lr_range.curve import Curve, has_diverged, smoother

End = Literal["diverged", "risen", "not risen"]
"""The reason for the end: the loss exploded; it had risen by `end_lr`; it had not risen, even by ten times `end_lr`."""


class StopRule:
    """Records the lr and the loss of each step, and decides when the range test ends.

    The test ends when the loss diverges. Otherwise it ends after `num_steps` steps if the loss has risen from its basin
    by then, and after `further_steps` more if not.

    The loss has diverged if it is not finite, or if its moving average is more than `stop_factor` times the lowest
    average so far and the loss has risen from its basin. The second condition is needed because after a fall to a
    hundredth, four times the lowest loss is no divergence. `smoothing` is the argument of `smoother`.
    """

    def __init__(self, num_steps: int, further_steps: int, *, smoothing: float, stop_factor: float) -> None:
        self.lrs: list[float] = []
        self.losses: list[float] = []
        self.smoothed_losses: list[float] = []
        self.end: End | None = None
        self.total_steps = num_steps
        self._longest = num_steps + further_steps
        self._stop_factor = stop_factor
        self._smooth = smoother(smoothing)
        self._best = float("inf")

    @property
    def curve(self) -> Curve:
        """The steps so far."""
        return Curve(self.lrs, self.losses)

    @property
    def over(self) -> bool:
        """Whether the test has ended."""
        return self.end is not None

    def record(self, lr: float, loss: float) -> float:
        """Records a step and returns the moving average of the losses. Updates `end` and `total_steps`."""
        assert not self.over
        smoothed = self._smooth(loss)
        self._best = min(self._best, smoothed)
        self.lrs.append(lr)
        self.losses.append(loss)
        self.smoothed_losses.append(smoothed)
        if has_diverged(loss, smoothed, self._best, self._stop_factor) and has_risen(self.curve):
            self.end = "diverged"
        elif len(self.losses) == self.total_steps:
            if has_risen(self.curve):
                self.end = "risen"
            elif self.total_steps == self._longest:
                self.end = "not risen"
            else:
                self.total_steps = self._longest
        return smoothed
