"""Schedules without cycles and with a constant momentum, to compare the 1cycle policy with."""

from collections.abc import Sequence
from functools import partial

from onecycle_cli.errors import InputError
from onecycle_cli.schedules.arguments import check_gamma, check_momentum, check_positive, check_steps
from onecycle_cli.schedules.lr_momentum import LrMomentum, Schedule
from onecycle_cli.schedules.lr_momentum import cosine as along_cosine


def constant(max_lr: float, *, momentum: float = 0.9) -> Schedule:
    """Builds a schedule with the same lr and momentum at every step.

    Returns a function from a step to its `LrMomentum`. `InputError` if an argument is out of range.
    """
    check_positive(max_lr=max_lr)
    check_momentum(momentum=momentum)
    return partial(_constant, value=LrMomentum(max_lr, momentum))


def _constant(_step: int, value: LrMomentum) -> LrMomentum:
    return value


def multistep(max_lr: float, milestones: Sequence[int], *, gamma: float = 0.1, momentum: float = 0.9) -> Schedule:
    """Builds a schedule that multiplies lr by `gamma` at each milestone: the schedule of the original ResNets.

    Args:
        max_lr: The lr before the first milestone.
        milestones: The steps, counted from 0, that first use a lower lr; in any order.
        gamma: The factor of lr at each milestone, above 0 and at most 1.
        momentum: The momentum (SGD) or beta1 (Adam) of every step.

    Returns:
        A function from a step to its `LrMomentum`.

    Raises:
        InputError: An argument is out of range.

    Source: He et al. 2015, section 4.2 (0.1, divided by 10 after 32,000 and 48,000 of 64,000 steps); the values
    equal those of torch's `MultiStepLR`.
    """
    check_positive(max_lr=max_lr)
    check_gamma(gamma)
    check_momentum(momentum=momentum)
    for number, milestone in enumerate(milestones):
        check_steps(**{f"milestones[{number}]": milestone})
    return partial(_multistep, max_lr=max_lr, milestones=tuple(milestones), gamma=gamma, momentum=momentum)


def _multistep(step: int, max_lr: float, milestones: Sequence[int], gamma: float, momentum: float) -> LrMomentum:
    return LrMomentum(max_lr * gamma ** sum(step >= milestone for milestone in milestones), momentum)


def cosine(total_steps: int, max_lr: float, *, min_lr: float = 0.0, momentum: float = 0.9) -> Schedule:
    """Builds a schedule along half a cosine from `max_lr` to `min_lr`, which step `total_steps` would reach.

    Args:
        total_steps: Optimizer updates of the whole run. From step `total_steps` on, lr stays at `min_lr`.
        max_lr: The lr of step 0.
        min_lr: The lr at the end, from 0 to `max_lr`.
        momentum: The momentum (SGD) or beta1 (Adam) of every step.

    Returns:
        A function from a step, counted from 0, to its `LrMomentum`.

    Raises:
        InputError: An argument is out of range.

    Source: Loshchilov and Hutter, "SGDR" (arXiv 1608.03983), equation 5, without restarts; the values equal
    those of torch's `CosineAnnealingLR`.
    """
    check_steps(total_steps=total_steps)
    check_positive(max_lr=max_lr)
    check_momentum(momentum=momentum)
    if not 0 <= min_lr <= max_lr:
        raise InputError(f"min_lr is {min_lr!r}.", f"Give a number from 0 to max_lr, {max_lr!r}.")
    return partial(_cosine, total_steps=total_steps, max_lr=max_lr, min_lr=min_lr, momentum=momentum)


def _cosine(step: int, total_steps: int, max_lr: float, min_lr: float, momentum: float) -> LrMomentum:
    return LrMomentum(along_cosine(max_lr, min_lr, min(step, total_steps) / total_steps), momentum)
