"""The learning rates of a range test."""

import math
from dataclasses import dataclass

from onecycle_cli.schedules.lr_momentum import linear


@dataclass(frozen=True)
class Range:
    """The learning rates of a range test: `num_steps` from `start_lr` to `end_lr`; mode "exponential" or "linear".

    A test that has to go on does so from `end_lr` to ten times as much, in `further_steps` more.
    """

    start_lr: float
    end_lr: float
    num_steps: int
    mode: str

    def lr(self, step: int) -> float:
        """The lr at `step`; exponential is `start_lr x (end_lr / start_lr) ** (step / (num_steps - 1))`."""
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
        """Steps from `end_lr` to ten times as much: an exponential test keeps its pace, but takes no more than before.

        At its own pace a linear test would take nine times as long, one over a hundredth of a decade a hundred times.
        """
        if self.mode == "linear":
            return self.num_steps
        return min(self.num_steps, math.ceil((self.num_steps - 1) / math.log10(self.end_lr / self.start_lr)))
