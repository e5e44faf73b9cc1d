"""Builds the network that a recipe's `model` section describes, and names its layer groups.

Each source of networks is a file in this folder, named as the source, with the three functions of `_Source`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from onecycle_cli.errors import InputError
from onecycle_cli.models.networks import ResNet, ResNet9


class NetworkSpec(Protocol):
    """The settings that every network is built from; each source adds its own."""

    @property
    def source(self) -> str: ...
    @property
    def architecture(self) -> str: ...
    @property
    def dropout(self) -> float: ...


@dataclass(frozen=True)
class Pretrained:
    """Trained weights of a source: their name in messages, their classes, and their normalization.

    `weights` has the parameter names of the built network. `mean` and `std` have one value per channel, on a scale from
    0 to 1.
    """

    name: str
    weights: dict[str, Tensor]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class _Source(Protocol):
    """The functions of a source's file."""

    def own_arguments(self, spec: Any) -> dict[str, Any]:
        """Returns the arguments of `build` that are not in `NetworkSpec`, from the settings."""

    def build(self, architecture: str, *, dropout: float, channels: int, classes: int, **own: Any) -> nn.Module:
        """Builds a network with random initial weights."""

    def trained_before(self, spec: Any, report: Callable[[str], None]) -> Pretrained | None:
        """Returns the trained weights that the settings ask for, or None."""


def _source(name: str) -> _Source:
    try:
        return cast(_Source, import_module(f"onecycle_cli.models.{name}"))
    except ModuleNotFoundError:
        raise InputError(
            f"There are no networks of source {name}.",
            "A newer version may have saved it: update onecycle.",
        ) from None


def build_model(spec: NetworkSpec, *, channels: int, classes: int, seed: int) -> nn.Module:
    """Builds a network on the CPU with initial weights drawn from `seed`; the global random state does not change."""
    return network_from(network_arguments(spec, channels=channels, classes=classes), seed=seed)


def network_arguments(spec: NetworkSpec, *, channels: int, classes: int) -> dict[str, Any]:
    """Returns the arguments that a network is built from, as JSON values, for `network_from` and saved weights."""
    arguments = {"source": spec.source, "architecture": spec.architecture} | _source(spec.source).own_arguments(spec)
    return arguments | {"dropout": spec.dropout, "channels": channels, "classes": classes}


def network_from(arguments: Mapping[str, Any], *, seed: int) -> nn.Module:
    """Builds a network from `network_arguments`, with weights drawn from `seed`. Old files name no source."""
    arguments = {"source": "onecycle"} | dict(arguments)
    source = arguments.pop("source")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _source(source).build(**arguments)


def pretrained_weights(spec: NetworkSpec, report: Callable[[str], None]) -> Pretrained | None:
    """Returns the trained weights of its source that a network starts from, downloaded if needed; else None."""
    return _source(spec.source).trained_before(spec, report)


def layer_groups(model: nn.Module) -> dict[str, nn.Module]:
    """Returns the layer groups of a network by name, from the input on: stem, layer1, layer2, ..., head.

    Each group may be frozen or have a separate lr. Each parameter is in exactly one group, in the order of the model.
    """
    assert isinstance(model, ResNet | ResNet9)
    stem, *layers = (model.stem, *model.stages) if isinstance(model, ResNet) else model.body
    named = {f"layer{number}": layer for number, layer in enumerate(layers, start=1)}
    return {"stem": stem} | named | {"head": model.head}
