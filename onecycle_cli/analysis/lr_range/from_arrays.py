"""Suggests a `max_lr` from the lrs and losses of a range test that any program recorded."""

import math
from collections.abc import Sequence
from numbers import Integral
from typing import Any

from onecycle_cli.analysis.lr_range.curve import Curve
from onecycle_cli.analysis.lr_range.suggestion import SHARES, CyclePlan, Suggestion
from onecycle_cli.analysis.lr_range.suggestion import suggest as suggest_from_curves
from onecycle_cli.errors import InputError

MOST_STEPS = 10_000
"""The most steps of a curve that `suggest` reads: its memory grows with their square, 2.4 GB at this number."""


def suggest(
    lrs: Any, losses: Any, *, optimizer: str = "sgd", div_factor: float = 10.0, total_steps: int | None = None
) -> Suggestion:
    """Suggests a `max_lr` for one cycle from a learning rate range test that you ran with any tool.

    Args:
        lrs: The lr of each step, ascending. A list, a numpy array, a pandas Series or a torch tensor.
        losses: The raw training loss of each step, not a moving average: as many as `lrs`. The last ones may be NaN or
            infinite. Several range tests over the same lrs are a sequence of such sequences; each may end early.
        optimizer: "sgd" (with momentum) or "adamw": the optimizer that ran the test and will train.
        div_factor: The `div_factor` of the cycle that you plan: `initial_lr` is `max_lr / div_factor`.
        total_steps: The number of steps of the cycle that you plan: longer ones need a lower max_lr. None: about 200.

    Returns:
        A `Suggestion`. Its `max_lr` is None where the curve cannot be trusted; `reason` then says why.

    Raises:
        InputError: The input cannot be read. The message says what is wrong and how to fix it.

    `onecycle find-lr` gives the same numbers for the same curve. docs/suggestion.md explains the rule and its accuracy.

    Examples:
        >>> found = suggest(lrs, losses, optimizer="adamw")
        >>> found.max_lr, found.confidence
        (0.0021, 'high')
    """
    return suggest_from_curves(curves_of(lrs, losses), plan_of(optimizer, div_factor, total_steps))


def plan_of(optimizer: str, div_factor: float, total_steps: int | None = None) -> CyclePlan:
    """Returns the plan of a cycle. `InputError` if a value is unknown or out of range."""
    if optimizer not in SHARES:
        raise InputError(
            f"optimizer is {optimizer!r}, which has no rule.", f"Name the nearest of these: {', '.join(SHARES)}."
        )
    if not 1 <= div_factor < math.inf:
        raise InputError(
            f"div_factor is {div_factor!r}.", "Give max_lr / initial_lr: a number of at least 1, such as 10."
        )
    given: Any = total_steps
    whole = isinstance(given, Integral) and not isinstance(given, bool)  # numpy's whole numbers, too
    if given is not None and not (whole and given > 0):
        raise InputError(
            f"total_steps is {total_steps!r}.",
            "Give the steps of the cycle: a whole number above 0, or None.",
        )
    return CyclePlan(optimizer, div_factor, None if given is None else int(given))


def curves_of(lrs: Any, losses: Any) -> list[Curve]:
    """Returns one curve, or a curve for each sequence in `losses`. `InputError` as in `suggest`."""
    numbers = _numbers(lrs, "lrs")
    _check_lrs(numbers)
    rows = _plain(losses, "losses")
    if not any(_is_sequence(row) for row in rows):
        one = _numbers(rows, "losses")
        if len(one) != len(numbers):
            raise InputError(
                f"There are {len(numbers)} lrs and {len(one)} losses.",
                "Give a loss for each lr; leave out the lrs of steps that were not taken.",
            )
        return [Curve(numbers, one)]
    curves = []
    for number, row in enumerate(rows):
        name = f"losses[{number}]"
        if not _is_sequence(row):
            raise InputError(f"{name} is {row!r}, but others are sequences.", "Give the losses of each range test.")
        one = _numbers(row, name)
        if not 0 < len(one) <= len(numbers):
            raise InputError(
                f"{name} has {len(one)} losses, but there are {len(numbers)} lrs.",
                "Give at least one loss of each range test, and no more than lrs; each row is a range test.",
            )
        curves.append(Curve(numbers[: len(one)], one))
    longest = max(len(curve.losses) for curve in curves)
    if longest < len(numbers) == len(rows):
        raise InputError(
            f"losses has {len(rows)} rows of at most {longest} losses, and there are {len(numbers)} lrs.",
            "A row is a whole range test, not a step: give losses.T.",
        )
    return curves


def _check_lrs(lrs: Sequence[float]) -> None:
    if not lrs:
        raise InputError("lrs is empty.", "Give the lr of each step of the range test.")
    if len(lrs) > MOST_STEPS:
        raise InputError(
            f"lrs has {len(lrs):,} steps; at most {MOST_STEPS:,} can be read.", "Take every tenth step, or fewer."
        )
    for number, lr in enumerate(lrs):
        if not 0 < lr < math.inf:
            raise InputError(f"lrs[{number}] is {lr:g}.", "Learning rates are finite and above 0: leave this step out.")
        if number and lr <= lrs[number - 1]:
            raise InputError(
                f"lrs[{number}] is {lr:g}, after {lrs[number - 1]:g}.",
                "Give the steps in ascending order of lr, each lr once; a further range test is a row of losses.",
            )


def _plain(values: Any, name: str) -> list[Any]:
    """Returns the values of a sequence as a list. numpy, pandas and torch convert theirs to Python numbers."""
    tolist = getattr(values, "tolist", None)
    values = tolist() if tolist is not None else values
    if not _is_sequence(values):
        raise InputError(f"{name} is {values!r}, not a sequence of numbers.", "Give a list or an array of numbers.")
    return list(values)


def _numbers(values: Any, name: str) -> list[float]:
    numbers = []
    for number, value in enumerate(_plain(values, name)):
        try:
            numbers.append(_number(value))
        except (TypeError, ValueError):
            raise InputError(
                f"{name}[{number}] is {value!r}, not a number.", "Give numbers; of a tensor, call .item()."
            ) from None
    return numbers


def _number(value: Any) -> float:
    if isinstance(value, str | bytes | bool) or _is_sequence(value):
        raise TypeError
    return float(value)


def _is_sequence(value: Any) -> bool:
    """Whether a value contains others. A tensor or an array without dimensions is a number."""
    if isinstance(value, str | bytes | dict):
        return False
    if (dimensions := getattr(value, "ndim", None)) is not None:
        return int(dimensions) > 0
    return hasattr(value, "__iter__")
