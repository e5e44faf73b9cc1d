"""The network of one of several ranks, whose gradients are averaged over all of them in each backward pass."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from onecycle_cli.training.network_check import call_network
from onecycle_cli.training.sync_batch_norm import SynchronizedBatchNorm


class GradientSync:
    """Calls a network in training so that its gradients are averaged over all ranks, by DistributedDataParallel.

    The norm statistics are those of rank 0, which all ranks take over before each forward pass, unless batch norm is
    synchronized.
    """

    def __init__(self, model: nn.Module, *, synchronize_batch_norm: bool) -> None:
        self._model, self._synchronize_batch_norm = model, synchronize_batch_norm
        self._parallel: DistributedDataParallel | None = None

    def __call__(self, images: Tensor) -> Tensor:
        """Returns the logits of images; all ranks must call it."""
        with self._batch_norm():
            logits: Tensor = call_network(self._network(), images)
        return logits

    @contextmanager
    def deferred(self, wanted: bool) -> Iterator[None]:
        """With `wanted`, gradients of the block stay on their rank, and are averaged with those of the next pass."""
        with self._network().no_sync() if wanted else nullcontext():
            yield

    def _network(self) -> DistributedDataParallel:
        """Returns the network with its hooks, made at the first step: then it is known which parameters are trained."""
        if self._parallel is None:
            # With find_unused_parameters a step may leave parameters out. And the order in which gradients are added
            # stays that of the first step, so that a resumed training adds them in the order of one that was not
            # stopped.
            self._parallel = DistributedDataParallel(self._model, find_unused_parameters=True)
        return self._parallel

    def take_weights_of_first(self) -> None:
        """Copies the parameters and buffers of rank 0 to all ranks: code of the user may draw other ones on each."""
        self._take_of_first(self._model.parameters())
        self.take_statistics_of_first()

    def take_statistics_of_first(self) -> None:
        """Copies the buffers of rank 0, such as norm statistics, to all ranks."""
        self._take_of_first(self._model.buffers())

    @torch.no_grad()
    def _take_of_first(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            distributed.broadcast(tensor, 0)

    def _batch_norm(self) -> AbstractContextManager[object]:
        return SynchronizedBatchNorm() if self._synchronize_batch_norm else nullcontext()
