"""Cyclical learning rates: many cycles, one after another, each of the same length."""

from functools import partial
from typing import Literal, get_args

from onecycle_cli.errors import InputError
from onecycle_cli.schedules.arguments import check_factor, check_gamma, check_momentums, check_positive, check_steps
from onecycle_cli.schedules.lr_momentum import LrMomentum, Schedule

Mode = Literal["triangular", "triangular2", "exp_range"]


def triangular(
    step_size: int,
    max_lr: float,
    *,
    div_factor: float = 10.0,
    max_momentum: float = 0.95,
    base_momentum: float = 0.85,
    mode: Mode = "triangular",
    gamma: float = 1.0,
) -> Schedule:
    """Builds cyclical learning rates: `step_size` steps up to `max_lr`, as many down to `initial_lr`, and so on.

    Args:
        step_size: Optimizer updates on the way up; a cycle is twice as long.
        max_lr: The peak of the first cycle.
        div_factor: lr starts at `initial_lr = max_lr / div_factor`, and returns to it.
        max_momentum: The momentum (SGD) or beta1 (Adam) while lr is low.
        base_momentum: The momentum at the peak of lr. If equal to `max_momentum`, momentum is constant.
        mode: "triangular" keeps the height of the cycles, "triangular2" halves it after each one, "exp_range"
            multiplies it by `gamma` at each step. Momentum moves over the same share of its range.
        gamma: Above 0 and at most 1; only for mode "exp_range".

    Returns:
        A function from a step, counted from 0, to its `LrMomentum`.

    Raises:
        InputError: An argument is out of range.

    Source: Smith, "Cyclical Learning Rates for Training Neural Networks" (arXiv 1506.01186), and
    torch's `CyclicLR` for the momentum.
    """
    check_steps(step_size=step_size)
    check_positive(max_lr=max_lr)
    check_factor(div_factor=div_factor)
    check_momentums(max_momentum, base_momentum)
    check_gamma(gamma)
    if mode not in get_args(Mode):
        raise InputError(f"mode is {mode!r}.", f"Give one of these: {', '.join(get_args(Mode))}.")
    return partial(
        _triangular,
        lrs=(max_lr / div_factor, max_lr),
        momentums=(max_momentum, base_momentum),
        step_size=step_size,
        mode=mode,
        gamma=gamma,
    )


def _triangular(
    step: int,
    *,
    lrs: tuple[float, float],
    momentums: tuple[float, float],
    step_size: int,
    mode: str,
    gamma: float,
) -> LrMomentum:
    cycle, into = divmod(step, 2 * step_size)
    height = 1 - abs(into / step_size - 1)
    if mode == "triangular2":
        height *= 0.5**cycle  # 2 ** cycle overflows a float after a thousand cycles
    elif mode == "exp_range":
        height *= gamma**step
    (low, high), (rest, peak) = lrs, momentums
    return LrMomentum(low + (high - low) * height, rest + (peak - rest) * height)
