"""The learning rates of a range test."""

import math
from dataclasses import dataclass

from onecycle_cli.schedules.lr_momentum import linear


@dataclass(frozen=True)
class Range:
    """The learning rates of a range test: `num_steps` steps from `start_lr` to `end_lr`.

    `mode` is "exponential" or "linear". If the loss has not risen by `end_lr`, the test continues to ten times `end_lr`
    in `further_steps` more steps.
    """

    start_lr: float
    end_lr: float
    num_steps: int
    mode: str

    def lr(self, step: int) -> float:
        """Returns the lr at `step`, counted from 0.

        It is `start_lr x (end_lr / start_lr) ** (step / (num_steps - 1))` in mode "exponential", and a straight line in
        mode "linear".
        """
        last = self.num_steps - 1
        if step > last:
            start, end, position = self.end_lr, 10 * self.end_lr, (step - last) / self.further_steps
        else:
            start, end, position = self.start_lr, self.end_lr, step / last
        if self.mode == "exponential":
            return float(start * (end / start) ** position)
        return linear(start, end, position)

    @property
    def further_steps(self) -> int:
        """The number of steps from `end_lr` to ten times `end_lr`.

        An exponential test keeps its pace, but takes at most `num_steps` more steps; a linear test takes `num_steps`.
        At its pace, a linear test would take nine times as many steps as before or more, and an exponential one over a
        hundredth of a decade a hundred times as many.
        """
        if self.mode == "linear":
            return self.num_steps
        return min(self.num_steps, math.ceil((self.num_steps - 1) / math.log10(self.end_lr / self.start_lr)))
