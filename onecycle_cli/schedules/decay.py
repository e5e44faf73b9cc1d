"""Schedules without a cycle, under a constant momentum: what the 1cycle policy is compared with."""

from collections.abc import Sequence

from onecycle_cli.schedules.lr_momentum import LrMomentum, Schedule
from onecycle_cli.schedules.lr_momentum import cosine as along_cosine


def constant(*, max_lr: float, momentum: float) -> Schedule:
    """The same lr at every step."""
    return lambda _: LrMomentum(max_lr, momentum)


def multistep(*, max_lr: float, milestones: Sequence[int], gamma: float, momentum: float) -> Schedule:
    """`max_lr`, multiplied by `gamma` at each of the steps in `milestones`: the schedule of the original ResNets.

    Source: He et al. 2015, section 4.2 (0.1, divided by 10 after 32,000 and 48,000 of 64,000 steps); the values are
    those of torch's `MultiStepLR`.
    """
    return lambda step: LrMomentum(max_lr * gamma ** sum(step >= milestone for milestone in milestones), momentum)


def cosine(*, max_lr: float, min_lr: float, total_steps: int, momentum: float) -> Schedule:
    """From `max_lr` along half a cosine towards `min_lr`, which step `total_steps` would reach.

    Source: Loshchilov and Hutter, "SGDR" (arXiv 1608.03983), equation 5, without restarts; the values are those of
    torch's `CosineAnnealingLR`.
    """
    return lambda step: LrMomentum(along_cosine(max_lr, min_lr, step / total_steps), momentum)
