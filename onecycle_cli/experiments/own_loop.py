"""The lr range test for your own training loop: it yields lrs, records losses, and ends by itself."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from onecycle_cli.analysis.lr_range import Curve, End, StopRule, Suggestion, shape_of
from onecycle_cli.analysis.lr_range import suggest as suggest_from_curves
from onecycle_cli.analysis.lr_range.curve import FEWEST_POINTS
from onecycle_cli.analysis.lr_range.from_arrays import MOST_STEPS, plan_of
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.drawing import draw_file
from onecycle_cli.progress import silent
from onecycle_cli.run_dir.writing import must_be_new, to_csv, write_new
from onecycle_cli.schedules import Range

COLUMNS = ("step", "lr", "train_loss", "smoothed_loss")
"""The columns of `RangeTest.to_csv`, with the same names as in the `lr_range.csv` of a run."""


class RangeTest(Iterator[float]):
    """A learning rate range test for your own training loop.

    Iterate over it to get the lr of each step. Set that lr in your optimizer, train one step, and `record` its loss:

        test = RangeTest(1e-5, 10)
        own = [group["lr"] for group in optimizer.param_groups]
        for lr, (inputs, targets) in zip(test, itertools.cycle(loader)):
            for group, group_lr in zip(optimizer.param_groups, own):
                group["lr"] = lr * (group_lr / max(own))
            loss = loss_function(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            test.record(loss)
        print(test.suggest().max_lr)

    The lr is for the parameter group with the largest lr. The example keeps the ratios between the groups; with one
    group, `optimizer.param_groups[0]["lr"] = lr` is enough.

    The test leaves the model trained at high lrs: run it on a copy, or build the model again. Use the optimizer, the
    batch size, the momentum and the weight decay of the training that you plan.

    The test ends as in `onecycle find-lr`: when the loss diverges, otherwise after `num_steps` steps. If the loss has
    not risen by then, the test continues once to ten times `end_lr`, in at most `num_steps` further steps.

    Source: Smith, "Cyclical learning rates for training neural networks" (arXiv 1506.01186).

    Args:
        start_lr: The lr of the first step, so low that the loss does not fall yet.
        end_lr: The lr of step `num_steps`. The loss should have risen by then.
        num_steps: Steps from `start_lr` to `end_lr`, from 10 to 5,000. They may take more than an epoch.
        mode: "exponential" (each lr is the same multiple of the one before) or "linear".
        smoothing: The weight of the past in the moving average of the losses, at least 0 and below 1.
        stop_factor: The loss has diverged if its moving average is this many times the lowest average; above 1.

    Raises:
        InputError: An argument is out of range, or an lr is taken before the loss of the last one was recorded.
    """

    def __init__(
        self,
        start_lr: float,
        end_lr: float,
        num_steps: int = 100,
        *,
        mode: Literal["exponential", "linear"] = "exponential",
        smoothing: float = 0.98,
        stop_factor: float = 4.0,
    ) -> None:
        _check(start_lr, end_lr, num_steps, mode, smoothing, stop_factor)
        self._range = Range(start_lr, end_lr, num_steps, mode)
        self._rule = StopRule(num_steps, self._range.further_steps, smoothing=smoothing, stop_factor=stop_factor)
        self._given: float | None = None

    def __repr__(self) -> str:
        return f"<RangeTest, {len(self.losses)} of {self._rule.total_steps} steps, {self.end or 'not over'}>"

    def __iter__(self) -> "RangeTest":
        return self

    def __next__(self) -> float:
        if self._given is not None:
            raise InputError(
                f"No loss was recorded for step {len(self.losses)}, at lr {self._given:g}.",
                "Call record(loss) once in each step, before the next lr is taken.",
            )
        if self._rule.over:
            raise StopIteration
        self._given = self._range.lr(len(self.losses))
        return self._given

    @property
    def lrs(self) -> list[float]:
        """The lr of each step that has a loss."""
        return list(self._rule.lrs)

    @property
    def losses(self) -> list[float]:
        """The recorded loss of each step."""
        return list(self._rule.losses)

    @property
    def end(self) -> End | None:
        """The reason for the end: "diverged", "risen" or "not risen" (by ten times `end_lr`); None before it."""
        return self._rule.end

    def record(self, loss: Any) -> None:
        """Records the training loss of the step with the last lr.

        `loss` is a number or a tensor with one element. NaN and infinity are valid: they end the test. This call waits
        for a tensor on a GPU. `InputError` if no lr was taken since the last loss, or if `loss` is not one number.
        """
        if self._given is None:
            raise InputError(
                "There is no step to record a loss for.",
                "Take the next lr first: iterate over the test, or call next().",
            )
        try:
            number = float(loss.item() if hasattr(loss, "item") else loss)
        except (TypeError, ValueError, RuntimeError):
            raise InputError(
                f"The loss of step {len(self.losses)} is not one number: {loss!r}.", "Record the mean over the batch."
            ) from None
        self._rule.record(self._given, number)
        self._given = None

    def suggest(
        self, *, optimizer: str = "sgd", div_factor: float = 10.0, total_steps: int | None = None
    ) -> Suggestion:
        """Suggests a `max_lr` for one cycle from the steps so far.

        `optimizer` is "sgd" or "adamw"; `initial_lr` is `max_lr / div_factor`; `total_steps` is the length of the cycle
        that you plan, about 200 if None. If the curve is not reliable, `max_lr` is None and `reason` says why.
        `InputError` before the first loss, or if an argument is out of range.
        """
        return suggest_from_curves([self._curve()], plan_of(optimizer, div_factor, total_steps))

    def to_csv(self, path: str | Path) -> None:
        """Writes the steps so far to a new CSV file: step, lr, train_loss, smoothed_loss.

        `onecycle suggest` reads this file. `InputError` if `path` exists already, or its folder does not exist.
        """
        path = Path(path)
        must_be_new(path)
        rule = self._rule
        rows = zip(range(len(rule.lrs)), rule.lrs, rule.losses, rule.smoothed_losses, strict=True)
        text = to_csv(COLUMNS, list(rows))
        write_new(path, lambda beside: beside.write_text(text, encoding="utf-8"))

    def plot(
        self,
        path: str | Path,
        *,
        optimizer: str = "sgd",
        total_steps: int | None = None,
        title: str = "learning rate range test",
    ) -> None:
        """Draws the loss over lr, with the suggestion for `optimizer` and `total_steps`, to a new PNG file.

        `InputError` if `path` exists already, if its folder does not exist, or before the first loss.
        """
        curve, suggestion, path = self._curve(), self.suggest(optimizer=optimizer, total_steps=total_steps), Path(path)
        must_be_new(path)

        def drawn(path: Path) -> str:
            from onecycle_cli.figures.plots import plot_lr_range

            return plot_lr_range(
                path,
                title=title,
                tests=[(curve.lrs, curve.losses)],
                shape=shape_of([curve]),
                suggestion=suggestion,
            )

        draw_file(path, silent, drawn)

    def _curve(self) -> Curve:
        if not self._rule.losses:
            raise InputError("The range test has no loss yet.", "Iterate over it, and record the loss of each step.")
        return self._rule.curve


def _check(start_lr: float, end_lr: float, num_steps: int, mode: str, smoothing: float, stop_factor: float) -> None:
    if not 0 < start_lr < end_lr < math.inf:
        raise InputError(
            f"start_lr is {start_lr!r} and end_lr {end_lr!r}.",
            "Give finite numbers above 0, with end_lr above start_lr, such as RangeTest(1e-5, 10).",
        )
    if not (isinstance(num_steps, int) and FEWEST_POINTS <= num_steps <= MOST_STEPS // 2):
        raise InputError(
            f"num_steps is {num_steps!r}.", f"Give a whole number from {FEWEST_POINTS} to {MOST_STEPS // 2:,}."
        )
    if mode not in ("exponential", "linear"):
        raise InputError(f"mode is {mode!r}.", 'Give "exponential" or "linear".')
    if not 0 <= smoothing < 1:
        raise InputError(f"smoothing is {smoothing!r}.", "Give a number of at least 0 and below 1, such as 0.98.")
    if not stop_factor > 1:
        raise InputError(f"stop_factor is {stop_factor!r}.", "Give a number above 1, such as 4.")
