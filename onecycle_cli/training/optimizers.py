"""SGD and AdamW whose lr, momentum and weight decay are scalars on the device.

torch's own optimizers take them as Python numbers (SGD's momentum always), which a captured CUDA graph freezes at their
first values. And to make any of them imports torch._dynamo, 1.1 to 2.1 s of each start (torch 2.15, two cores).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

T = TypeVar("T")


class Optimizer:
    """What both have in common: the parameters, and the scalars that an update uses.

    `lr_ratios` holds the parameters of the model that it trains, by name, each with its lr over the one that is set;
    None: all of them, alike. The others are not touched; they do not decay either. `momentum` is AdamW's beta1. Without
    `decay_norm_and_bias`, parameters of one dimension (norm layers and biases) do not decay. `memory` is what is
    remembered of earlier updates. All updates are foreach operations: a kernel for many parameters at once, and no wait
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
        # Where all are alike, they cost no kernel.
        self.lr_ratios = list(lr_ratios.values()) if set(lr_ratios.values()) != {1.0} else None
        self.decayed = [number for number, p in enumerate(self.parameters) if decay_norm_and_bias or p.ndim > 1]
        device = self.parameters[0].device
        self.lr, self.momentum, self.weight_decay = torch.tensor([0.0, 0.0, weight_decay], device=device).unbind()
        self.memory: list[Tensor] = []

    def set(self, lr: float, momentum: float) -> None:
        """Sets the lr and the momentum of the next update; the device is told, not waited for."""
        self.lr.fill_(lr)
        self.momentum.fill_(momentum)

    @torch.no_grad()
    def step(self) -> None:
        """Updates every parameter from its gradient; the gradients are used up."""
        self._update([_gradient(parameter) for parameter in self.parameters])

    def reset(self, weight_decay: float) -> None:
        """Forgets all updates, in place."""
        self.weight_decay.fill_(weight_decay)
        for tensor in self.memory:
            tensor.zero_()

    def _update(self, gradients: list[Tensor]) -> None:
        raise NotImplementedError

    def _of_decayed(self, values: Sequence[T]) -> list[T]:
        return [values[number] for number in self.decayed]

    def _take(self, steps: list[Tensor] | tuple[Tensor, ...]) -> None:
        """Adds steps of the lr that was set to the parameters, each as long as its own lr makes it."""
        if self.lr_ratios is not None:
            torch._foreach_mul_(steps, self.lr_ratios)
        torch._foreach_add_(self.parameters, steps)


class Sgd(Optimizer):
    """Gradient descent with momentum; weight decay is L2, added to the gradient, as torch's SGD has it."""

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
    """Adam with weight decay apart from the gradient (Loshchilov and Hutter 2017), as torch's AdamW has it."""

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
        """Takes the share `lr x weight_decay` of each parameter that decays, by its own lr."""
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
    """The optimizer that the settings name, for a model; those that belong to the other one are not used."""
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
    assert parameter.grad is not None  # every parameter of a network of ours takes part in each step
    return parameter.grad
