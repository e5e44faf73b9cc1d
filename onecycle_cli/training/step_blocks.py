"""Copies the results of steps to the host in blocks, because reading a loss waits for the device."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from time import perf_counter

import torch

from onecycle_cli.training.hardware import Hardware
from onecycle_cli.training.trainer import Step


@dataclass(frozen=True)
class LoggedStep:
    """A row of `steps.csv`."""

    step: int
    epoch: int
    lr: float
    momentum: float
    train_loss: float


@dataclass(frozen=True)
class SeenStep(LoggedStep):
    """A step whose loss, weight and number of correct answers are on the host."""

    images: int
    weight: float
    correct: int


@dataclass(frozen=True)
class Block:
    """Steps that were copied to the host together, and their speed."""

    steps: list[SeenStep]
    images_per_second: float


def in_blocks(steps: Iterator[Step], hardware: Hardware, log_every: int) -> Iterator[Block]:
    """Takes steps and yields them in blocks of `log_every`; each block waits for the device once.

    On a CPU there is no wait, so each step is one block. The values of a step do not depend on the block.
    """
    size = 1 if hardware.device.type == "cpu" else log_every
    while True:
        started = perf_counter()
        block = list(islice(steps, size))
        if not block:
            return
        losses = torch.stack([step.loss for step in block]).tolist()
        weights = torch.stack([step.weight for step in block]).tolist()
        corrects = torch.stack([step.correct for step in block]).tolist()
        seen = [
            SeenStep(step.step, step.epoch, step.lr, step.momentum, loss, step.images, weight, correct)
            for step, loss, weight, correct in zip(block, losses, weights, corrects, strict=True)
        ]
        yield Block(seen, sum(step.images for step in block) / (perf_counter() - started))
