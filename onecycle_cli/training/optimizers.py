"""SGD and AdamW with lr, momentum and weight decay as scalars on the device.

torch's optimizers take Python numbers (SGD's momentum always), and a CUDA graph freezes these at their first values.
Constructing one of torch's optimizers also imports torch._dynamo, which adds 1.1 to 2.1 s to each start (torch 2.15,
two cores).
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeVar, cast

import torch
from torch import Tensor, nn

from onecycle_cli.training.weight_decay import spared_from_decay

T = TypeVar("T")


class Optimizer:
    """The base class of `Sgd` and `AdamW`: the trained parameters and the scalars of an update.

    `lr_ratios` maps the name of each trained parameter to the ratio of its lr to the lr that `set` takes; None trains
    all parameters with ratio 1. Other parameters do not change, and do not decay; nor do those that the network itself
    excludes, with `requires_grad` False. `momentum` is beta1 for AdamW.
    Without `decay_norm_and_bias`, those of `spared_from_decay` do not decay. With `max_grad_norm`, the norm of all
    gradients together is reduced to it if it is larger, as `torch.nn.utils.clip_grad_norm_` does. `memory` holds the
    state of earlier updates. All updates are foreach operations: one kernel for many parameters, without waiting for
    the device.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        weight_decay: float,
        decay_norm_and_bias: bool,
        max_grad_norm: float | None = None,
        lr_ratios: Mapping[str, float] | None = None,
    ) -> None:
        named = dict(model.named_parameters())
        if lr_ratios is None:
            lr_ratios = dict.fromkeys(named, 1.0)
        lr_ratios = {name: ratio for name, ratio in lr_ratios.items() if named[name].requires_grad}
        self.parameters: list[Tensor] = [named[name] for name in lr_ratios]
        # None saves a kernel when all ratios are 1.
        self.lr_ratios = list(lr_ratios.values()) if set(lr_ratios.values()) != {1.0} else None
        spared = set() if decay_norm_and_bias else spared_from_decay(model)
        self.decayed = [number for number, name in enumerate(lr_ratios) if name not in spared]
        self.max_grad_norm = max_grad_norm
        self._updated = list(range(len(self.parameters)))
        device = self.parameters[0].device
        self.lr, self.momentum, self.weight_decay = torch.tensor([0.0, 0.0, weight_decay], device=device).unbind()
        self.memory: list[Tensor] = []

    def set(self, lr: float, momentum: float) -> None:
        """Sets the lr and the momentum of the next update, without waiting for the device."""
        self.lr.fill_(lr)
        self.momentum.fill_(momentum)

    @torch.no_grad()
    def step(self) -> None:
        """Updates each parameter that has a gradient, from it; overwrites the gradients.

        A parameter without a gradient took no part in the loss. It keeps its value and does not decay, as in torch.
        """
        self._updated = [number for number, parameter in enumerate(self.parameters) if parameter.grad is not None]
        gradients = [parameter.grad for parameter in self.parameters]
        if self.max_grad_norm is not None:
            _clip(self._of_updated(gradients), self.max_grad_norm)
        self._update(gradients)

    def reset(self, weight_decay: float) -> None:
        """Sets the weight decay, and the state of earlier updates to zero, in place."""
        self.weight_decay.fill_(weight_decay)
        for tensor in self.memory:
            tensor.zero_()

    def _update(self, gradients: list[Tensor | None]) -> None:
        """Updates the parameters that have a gradient; `gradients` has one entry for each parameter."""
        raise NotImplementedError

    def _of_updated(self, values: Sequence[T | None]) -> list[T]:
        return cast(list[T], [values[number] for number in self._updated])

    def _of_decayed(self, values: Sequence[T | None]) -> list[T]:
        if len(self._updated) == len(self.parameters):
            return cast(list[T], [values[number] for number in self.decayed])
        updated = set(self._updated)
        return cast(list[T], [values[number] for number in self.decayed if number in updated])

    def _take(self, steps: list[Tensor] | tuple[Tensor, ...]) -> None:
        """Adds `steps`, computed for the lr that `set` took, to the parameters, each times its lr ratio."""
        if self.lr_ratios is not None:
            torch._foreach_mul_(steps, self._of_updated(self.lr_ratios))
        torch._foreach_add_(self._of_updated(self.parameters), steps)


class Sgd(Optimizer):
    """SGD with momentum, equal to torch's SGD: weight decay is L2, added to the gradient."""

    def __init__(self, model: nn.Module, *, nesterov: bool, **common: Any) -> None:
        super().__init__(model, **common)
        self.nesterov = nesterov
        self.velocities = self.memory = _zeros_like(self.parameters)

    def _update(self, gradients: list[Tensor | None]) -> None:
        if decayed := self._of_decayed(self.parameters):
            torch._foreach_add_(self._of_decayed(gradients), torch._foreach_mul(decayed, self.weight_decay))
        given, velocities = self._of_updated(gradients), self._of_updated(self.velocities)
        torch._foreach_mul_(velocities, self.momentum)
        torch._foreach_add_(velocities, given)
        if self.nesterov:
            torch._foreach_add_(given, torch._foreach_mul(velocities, self.momentum))
            torch._foreach_mul_(given, -self.lr)
            self._take(given)
        else:
            self._take(torch._foreach_mul(velocities, -self.lr))


class AdamW(Optimizer):
    """AdamW (Loshchilov and Hutter 2017), equal to torch's AdamW: weight decay is separate from the gradient.

    The number of updates, which corrects the bias of the moments, is that of the network: a parameter that has a
    gradient in some steps only is corrected less than in torch, which counts for each parameter.
    """

    def __init__(self, model: nn.Module, *, beta2: float, eps: float, **common: Any) -> None:
        super().__init__(model, **common)
        self.beta2, self.eps = beta2, eps
        self.means, self.squares = _zeros_like(self.parameters), _zeros_like(self.parameters)
        self.updates = torch.zeros((), device=self.lr.device)
        self.memory = [*self.means, *self.squares, self.updates]

    def _update(self, gradients: list[Tensor | None]) -> None:
        self.updates += 1
        if decayed := self._of_decayed(self.parameters):
            self._decay(decayed)
        given, means, squares = (self._of_updated(values) for values in (gradients, self.means, self.squares))
        torch._foreach_mul_(means, self.momentum)
        torch._foreach_add_(means, torch._foreach_mul(given, 1 - self.momentum))
        torch._foreach_mul_(squares, self.beta2)
        torch._foreach_addcmul_(squares, given, given, value=1 - self.beta2)
        scales = torch._foreach_sqrt(squares)
        torch._foreach_div_(scales, (1 - self.beta2**self.updates).sqrt())
        torch._foreach_add_(scales, self.eps)
        steps = torch._foreach_div(means, scales)
        torch._foreach_mul_(steps, -self.lr / (1 - self.momentum**self.updates))
        self._take(steps)

    def _decay(self, decayed: list[Tensor]) -> None:
        """Reduces each parameter that decays by the share `lr x lr ratio x weight_decay`."""
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
    def max_grad_norm(self) -> float | None: ...
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
        "max_grad_norm": settings.max_grad_norm,
        "lr_ratios": lr_ratios,
    }
    if settings.name == "sgd":
        return Sgd(model, nesterov=settings.nesterov, **common)
    return AdamW(model, beta2=settings.beta2, eps=settings.eps, **common)


def _zeros_like(tensors: Iterable[Tensor]) -> list[Tensor]:
    return [torch.zeros_like(tensor) for tensor in tensors]


def _clip(gradients: list[Tensor], max_norm: float) -> None:
    """Reduces gradients so that the norm of all of them together is at most `max_norm`; does not wait for the device.

    The 1e-6 is that of `torch.nn.utils.clip_grad_norm_`.
    """
    norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))
    torch._foreach_mul_(gradients, (max_norm / (norm + 1e-6)).clamp(max=1.0))
