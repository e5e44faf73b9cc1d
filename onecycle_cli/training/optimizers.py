"""SGD and AdamW with lr, momentum and weight decay as scalars on the device.

torch's optimizers take Python numbers (SGD's momentum always), and a CUDA graph freezes these at their first values.
Constructing one of torch's optimizers also imports torch._dynamo, which adds 1.1 to 2.1 s to each start (torch 2.15,
two cores).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


class Optimizer:
    """The base class of `Sgd` and `AdamW`: the trained parameters and the scalars of an update.

    `lr_ratios` maps the name of each trained parameter to the ratio of its lr to the lr that `set` takes; None trains
    all parameters with ratio 1. Other parameters do not change, and do not decay. `momentum` is beta1 for AdamW.
    Without `decay_norm_and_bias`, parameters with one dimension (norm layers and biases) do not decay. `memory` holds
    the state of earlier updates. All updates are foreach operations: one kernel for many parameters, without waiting
    for the device.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        weight_decay: float,
        decay_norm_and_bias: bool,
        lr_ratios: Mapping[str, float] | None = None,
    ) -> None:
        named = dict(model.named_parameters())
        if lr_ratios is None:
            lr_ratios = dict.fromkeys(named, 1.0)
        self.parameters: list[Tensor] = [named[name] for name in lr_ratios]
        # None saves a kernel when all ratios are 1.
        self.lr_ratios = list(lr_ratios.values()) if set(lr_ratios.values()) != {1.0} else None
        self.decayed = [number for number, p in enumerate(self.parameters) if decay_norm_and_bias or p.ndim > 1]
        device = self.parameters[0].device
        self.lr, self.momentum, self.weight_decay = torch.tensor([0.0, 0.0, weight_decay], device=device).unbind()
        self.memory: list[Tensor] = []

    def set(self, lr: float, momentum: float) -> None:
        """Sets the lr and the momentum of the next update, without waiting for the device."""
        self.lr.fill_(lr)
        self.momentum.fill_(momentum)

    @torch.no_grad()
    def step(self) -> None:
        """Updates every parameter from its gradient; overwrites the gradients."""
        self._update([_gradient(parameter) for parameter in self.parameters])

    def reset(self, weight_decay: float) -> None:
        """Sets the weight decay, and the state of earlier updates to zero, in place."""
        self.weight_decay.fill_(weight_decay)
        for tensor in self.memory:
            tensor.zero_()

    def _update(self, gradients: list[Tensor]) -> None:
        raise NotImplementedError

    def _of_decayed(self, values: Sequence[T]) -> list[T]:
        return [values[number] for number in self.decayed]

    def _take(self, steps: list[Tensor] | tuple[Tensor, ...]) -> None:
        """Adds `steps`, computed for the lr that `set` took, to the parameters, each times its lr ratio."""
        if self.lr_ratios is not None:
            torch._foreach_mul_(steps, self.lr_ratios)
        torch._foreach_add_(self.parameters, steps)


class Sgd(Optimizer):
    """SGD with momentum, equal to torch's SGD: weight decay is L2, added to the gradient."""

    def __init__(self, model: nn.Module, *, nesterov: bool, **common: Any) -> None:
        super().__init__(model, **common)
        self.nesterov = nesterov
        self.velocities = self.memory = _zeros_like(self.parameters)

    def _update(self, gradients: list[Tensor]) -> None:
        decay = torch._foreach_mul(self._of_decayed(self.parameters), self.weight_decay)
        torch._foreach_add_(self._of_decayed(gradients), decay)
        torch._foreach_mul_(self.velocities, self.momentum)
        torch._foreach_add_(self.velocities, gradients)
        if self.nesterov:
            torch._foreach_add_(gradients, torch._foreach_mul(self.velocities, self.momentum))
            torch._foreach_mul_(gradients, -self.lr)
            self._take(gradients)
        else:
            self._take(torch._foreach_mul(self.velocities, -self.lr))


class AdamW(Optimizer):
    """AdamW (Loshchilov and Hutter 2017), equal to torch's AdamW: weight decay is separate from the gradient."""

    def __init__(self, model: nn.Module, *, beta2: float, eps: float, **common: Any) -> None:
        super().__init__(model, **common)
        self.beta2, self.eps = beta2, eps
        self.means, self.squares = _zeros_like(self.parameters), _zeros_like(self.parameters)
        self.updates = torch.zeros((), device=self.lr.device)
        self.memory = [*self.means, *self.squares, self.updates]

    def _update(self, gradients: list[Tensor]) -> None:
        self.updates += 1
        self._decay()
        torch._foreach_mul_(self.means, self.momentum)
        torch._foreach_add_(self.means, torch._foreach_mul(gradients, 1 - self.momentum))
        torch._foreach_mul_(self.squares, self.beta2)
        torch._foreach_addcmul_(self.squares, gradients, gradients, value=1 - self.beta2)
        scales = torch._foreach_sqrt(self.squares)
        torch._foreach_div_(scales, (1 - self.beta2**self.updates).sqrt())
        torch._foreach_add_(scales, self.eps)
        steps = torch._foreach_div(self.means, scales)
        torch._foreach_mul_(steps, -self.lr / (1 - self.momentum**self.updates))
        self._take(steps)

    def _decay(self) -> None:
        """Reduces each parameter that decays by the share `lr x lr ratio x weight_decay`."""
        decayed = self._of_decayed(self.parameters)
        if self.lr_ratios is None:
            torch._foreach_mul_(decayed, 1 - self.lr * self.weight_decay)
            return
        shares = torch._foreach_mul(decayed, self.lr * self.weight_decay)
        torch._foreach_mul_(shares, self._of_decayed(self.lr_ratios))
        torch._foreach_sub_(decayed, shares)


class OptimizerSpec(Protocol):
    """The settings of an optimizer: its name, "sgd" or "adamw", its weight decay, and what each of the two has."""

    @property
    def name(self) -> str: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def decay_norm_and_bias(self) -> bool: ...
    @property
    def nesterov(self) -> bool: ...
    @property
    def beta2(self) -> float: ...
    @property
    def eps(self) -> float: ...


def build_optimizer(
    model: nn.Module, settings: OptimizerSpec, *, lr_ratios: Mapping[str, float] | None = None
) -> Optimizer:
    """Builds the optimizer that the settings name, "sgd" or "adamw"; ignores the settings of the other one."""
    common: dict[str, Any] = {
        "weight_decay": settings.weight_decay,
        "decay_norm_and_bias": settings.decay_norm_and_bias,
        "lr_ratios": lr_ratios,
    }
    if settings.name == "sgd":
        return Sgd(model, nesterov=settings.nesterov, **common)
    return AdamW(model, beta2=settings.beta2, eps=settings.eps, **common)


def _zeros_like(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(tensor) for tensor in tensors]


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None  # every parameter of the networks takes part in each step
    return parameter.grad
