"""Optimizers that need no lr, with the settings of their authors, in the place of a trainer's own optimizer."""

import contextlib
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from onecycle_cli.schedules import LrMomentum, Schedule
from onecycle_cli.training.optimizers import Optimizer
from onecycle_cli.training.trainer import Trainer

WARM_UP = 0.05
"""The share of a run in which Schedule-Free's lr rises; its authors recommend to have a warm-up."""

NORM_BATCHES = 50
"""So many training batches, as in Schedule-Free's README, renew the statistics of batch norm before scoring."""

Groups = list[dict[str, Any]]


@dataclass(frozen=True)
class LrFree:
    """How an optimizer is built from groups of parameters and the number of steps, and the lr of each step.

    `decay` is the optimizer whose weight decay has the same meaning: part of the gradient as in "sgd", or apart from it
    as in "adamw". A task with the other one is trained without weight decay, which is each author's default: L2 of
    SGD's usual size says nothing about AdamW's, and the other way round it would be the largest part of the gradient.
    `ratio` is the name that a group's share of the lr has; None: the optimizer cannot train groups with different lrs.
    """

    package: str
    decay: Literal["sgd", "adamw"]
    ratio: str | None
    build: Callable[[Groups, int], torch.optim.Optimizer]
    schedule: Callable[[int], Schedule]


def cosine(steps: int) -> Schedule:
    """Returns a schedule from lr 1 down to 0 along half a cosine; the optimizer has a momentum of its own."""
    return lambda step: LrMomentum((1 + math.cos(math.pi * step / steps)) / 2, 0.0)


def constant(lr: float) -> Callable[[int], Schedule]:
    """Returns a constant schedule for any number of steps."""
    return lambda _: lambda _: LrMomentum(lr, 0.0)


def _prodigy(groups: Groups, _: int) -> torch.optim.Optimizer:
    from prodigyopt import Prodigy

    return cast(torch.optim.Optimizer, Prodigy(groups, lr=1.0, safeguard_warmup=False))


def _d_adaptation(groups: Groups, _: int) -> torch.optim.Optimizer:
    from dadaptation import DAdaptAdam

    return cast(torch.optim.Optimizer, DAdaptAdam(groups, lr=1.0, decouple=True))


def _schedule_free_sgd(groups: Groups, steps: int) -> torch.optim.Optimizer:
    from schedulefree import SGDScheduleFree

    return cast(torch.optim.Optimizer, SGDScheduleFree(groups, lr=1.0, warmup_steps=round(WARM_UP * steps)))


def _schedule_free_adamw(groups: Groups, steps: int) -> torch.optim.Optimizer:
    from schedulefree import AdamWScheduleFree

    return cast(torch.optim.Optimizer, AdamWScheduleFree(groups, lr=0.0025, warmup_steps=round(WARM_UP * steps)))


# Prodigy's README: lr 1, and no schedule or a cosine without restarts and without a warm-up. D-Adaptation's: lr 1, and
# the usual schedule; the cosine is one for both. Schedule-Free's: no schedule, a warm-up; lr and momentum are its
# defaults.
OPTIMIZERS = {
    "Prodigy": LrFree("prodigyopt", "adamw", None, _prodigy, cosine),
    "D-Adaptation Adam": LrFree("dadaptation", "adamw", "layer_scale", _d_adaptation, cosine),
    "Schedule-Free SGD": LrFree("schedulefree", "sgd", "lr", _schedule_free_sgd, constant(1.0)),
    "Schedule-Free AdamW": LrFree("schedulefree", "adamw", "lr", _schedule_free_adamw, constant(0.0025)),
}


class Adapter:
    """An optimizer of torch with the methods that a trainer calls, for the parameters of the trainer's own optimizer.

    `ratios` has the share of the lr for each of its groups; momentum is a setting of the optimizer.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, parameters: list[Tensor], ratios: list[float]) -> None:
        self.optimizer, self.parameters, self._ratios = optimizer, parameters, ratios
        self.memory: list[Tensor] = []

    def set(self, lr: float, momentum: float) -> None:  # noqa: ARG002 - as the trainer calls it
        """Sets the lr of the next update."""
        for group, ratio in zip(self.optimizer.param_groups, self._ratios, strict=True):
            group["lr"] = lr * ratio

    def step(self) -> None:
        """Updates the parameters from their gradients."""
        self.optimizer.step()


def put_into(trainer: Trainer, optimizer: LrFree, weight_decay: float, steps: int) -> Adapter:
    """Gives `trainer` the optimizer for a run of so many steps; returns it. The caller gives the trainer its own back.

    ValueError if the trainer's own has different lrs for different parameters, and the optimizer cannot.
    """
    own = trainer.optimizer
    groups = groups_of(own, weight_decay)
    ratios = [group.pop("ratio") for group in groups]
    if optimizer.ratio is None and set(ratios) != {1.0}:
        raise ValueError(f"{optimizer.package} has one lr for all parameters")
    if optimizer.ratio not in ("lr", None):
        for group, ratio in zip(groups, ratios, strict=True):
            group[optimizer.ratio] = ratio
    with contextlib.redirect_stdout(io.StringIO()):  # "Using decoupled weight decay"
        built = optimizer.build(groups, steps)
    adapter = Adapter(built, own.parameters, ratios if optimizer.ratio == "lr" else [1.0] * len(groups))
    if switch := getattr(built, "train", None):
        switch()
    trainer.optimizer = cast(Optimizer, adapter)
    return adapter


def groups_of(own: Optimizer, weight_decay: float) -> Groups:
    """Returns the parameters of a trainer's optimizer in groups that share weight decay and `ratio` of the lr."""
    decayed = set(own.decayed)
    ratios = own.lr_ratios or [1.0] * len(own.parameters)
    groups: dict[tuple[float, float], list[Tensor]] = {}
    for number, parameter in enumerate(own.parameters):
        key = (weight_decay if number in decayed else 0.0, ratios[number])
        groups.setdefault(key, []).append(parameter)
    return [{"params": some, "weight_decay": decay, "ratio": ratio} for (decay, ratio), some in groups.items()]


@torch.no_grad()
def ready_to_score(trainer: Trainer, adapter: Adapter, steps: int) -> None:
    """After so many steps: moves the weights to where Schedule-Free scores, with statistics of batch norm from there.

    Does nothing for other optimizers.
    """
    switch = getattr(adapter.optimizer, "eval", None)
    if switch is None:
        return
    switch()
    # Frozen layers keep their statistics: the trainer has left them in eval mode.
    if any(isinstance(module, _BatchNorm) and module.training for module in trainer.model.modules()):
        for drawn in islice(trainer.batches.drawn(steps), NORM_BATCHES):
            with trainer.hardware.autocast():
                trainer.model(trainer.batches.batch(drawn).images)
