"""An exponential moving average of a network's weights over the steps of a training."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from math import log

import torch
from torch import Tensor, nn


class WeightAverage:
    """The exponential moving average of the weights of `model`, with bias correction; `update` adds the current ones.

    After n updates, the average of the weights w_1, ..., w_n is sum((1 - decay) decay^(n - i) w_i) / (1 - decay^n), so
    the initial weights have no part in it, and a training that is shorter than 1 / (1 - decay) steps has the mean of
    all its steps. Source: the moments of Adam (Kingma and Ba 2015, section 3). Floating point buffers, such as the
    statistics of batch norm, are averaged like the weights, as in timm's ModelEmaV3; other buffers are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self._model, self._decay = model, decay
        self._average = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        self._updates = torch.zeros((), device=next(model.parameters()).device)

    @torch.no_grad()
    def update(self) -> None:
        """Adds the current weights, in place and without waiting for the device."""
        self._updates += 1
        # In float32, 1 - decay^n loses most digits for a decay near 1; expm1 keeps them.
        share = (1 - self._decay) / -torch.expm1(self._updates * log(self._decay))
        current = self._model.state_dict()
        floats = [name for name, tensor in current.items() if tensor.is_floating_point()]
        others = [name for name, tensor in current.items() if not tensor.is_floating_point()]
        averages = [self._average[name] for name in floats]
        steps = torch._foreach_sub([current[name] for name in floats], averages)
        torch._foreach_mul_(steps, share)
        torch._foreach_add_(averages, steps)
        if others:
            torch._foreach_copy_([self._average[name] for name in others], [current[name] for name in others])

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Copies the average into the model for the block, and the weights of the last step back after it."""
        weights = {name: tensor.clone() for name, tensor in self._model.state_dict().items()}
        self._put(self._average)
        try:
            yield
        finally:
            self._put(weights)

    def state(self) -> dict[str, Tensor]:
        """Returns all tensors that the next update depends on; these are not copies."""
        return {f"model.{name}": tensor for name, tensor in self._average.items()} | {"updates": self._updates}

    @torch.no_grad()
    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Copies the `state` of another average of the same network into this one. KeyError if a tensor is missing."""
        for name, tensor in self.state().items():
            tensor.copy_(state[name])

    @torch.no_grad()
    def _put(self, weights: Mapping[str, Tensor]) -> None:
        for name, tensor in self._model.state_dict().items():
            tensor.copy_(weights[name])
