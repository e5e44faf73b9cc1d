"""Sharing the cores of a machine: how many threads a training step uses, and turns between processes that use them all.

Two processes with as many threads as there are cores do not run half as fast each, but ten times slower: the threads of
a step wait for each other in short loops without sleeping, and on a core that is taken each such wait lasts until the
system switches (measured in benchmarks/results/side_by_side.csv). So a small step uses one thread, and processes whose
steps use most of the cores take turns, step by step. What other processes do never changes a bit of a result.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from onecycle_cli.data.cores import cores

if TYPE_CHECKING:
    import torch
    from torch import nn

SMALL_STEP = 100_000_000
"""Multiply-adds of the forward passes of a batch, below which a step uses one thread: a second one gains nothing."""

PATIENCE_SECONDS = 120.0
"""A process that waited so long for its turn goes on without: the one whose turn it is may have been suspended."""

REST_SECONDS = 600.0
"""So long it then takes no turns."""

POLL_SECONDS = 0.001
"""Between two looks at whether the turn has come."""


def multiply_adds(model: "nn.Module", image: "torch.Tensor") -> int:
    """The multiply-adds of convolutions and linear layers in one forward pass of a batch with one image.

    `image` is float32 (1, channels, height, width). Nothing is computed, and no memory is taken: the pass runs on the
    device `meta` of torch. The mode and the statistics of `model` stay as they are.
    """
    import torch
    from torch import nn
    from torch.func import functional_call

    counted = 0

    def count(module: nn.Module, _: object, output: torch.Tensor) -> None:
        nonlocal counted
        weight = module.weight
        assert isinstance(weight, torch.Tensor)
        counted += output.numel() * weight[0].numel()

    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    hooks = [layer.register_forward_hook(count) for layer in layers]
    training = model.training
    try:
        with torch.no_grad():
            without_values = {name: tensor.to("meta") for name, tensor in model.state_dict().items()}
            functional_call(model.eval(), without_values, (image.to("meta"),))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return counted


def threads_of(step: int) -> int:
    """The threads for a step of so many multiply-adds: one where it is small, else all that torch may use."""
    import torch

    return 1 if step < SMALL_STEP else torch.get_num_threads()


@contextmanager
def using_threads(threads: int) -> Iterator[None]:
    """Has torch compute with so many threads inside the block."""
    import torch

    before = torch.get_num_threads()
    if threads == before:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Turns:
    """Turns between the processes of one user on one machine: a block runs while no other process is in such a block.

    A queue lock, taken before the turn lock and given back after it, lets those who wait go first. Without `threads` on
    most of the cores of this process there is nothing to take turns for.
    """

    def __init__(self, threads: int) -> None:
        self._shared = 2 * threads > cores()
        self._resting_until = 0.0
        folder = Path(tempfile.gettempdir())
        self._queue, self._turn = (
            FileLock(folder / f"onecycle-{os.getuid()}-{name}.lock", timeout=PATIENCE_SECONDS)
            for name in ("queue", "turn")
        )

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Waits for the turn, and gives it back after the block; where none can be had, the block runs all the same."""
        got = self._shared and monotonic() >= self._resting_until and self._wait()
        try:
            yield
        finally:
            if got:
                self._turn.release()

    def _wait(self) -> bool:
        try:
            with self._queue.acquire(poll_interval=POLL_SECONDS):
                self._turn.acquire(poll_interval=POLL_SECONDS)
        except (Timeout, OSError):  # no such folder, or a file of somebody else
            self._resting_until = monotonic() + REST_SECONDS
            return False
        return True
