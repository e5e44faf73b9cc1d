"""From the settings of a recipe's `model` section to a network, and the parts that every network has.

Each source of networks has a file of its name in this folder, with the three functions of `_Source`.
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
    """Weights that a source has for its network, what they are called, their classes, and their normalization."""

    name: str
    weights: dict[str, Tensor]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]


class _Source(Protocol):
    """The file of a source of networks."""

    def own_arguments(self, spec: Any) -> dict[str, Any]:
        """The arguments of `build` that are not in `NetworkSpec`, from settings."""

    def build(self, architecture: str, *, dropout: float, channels: int, classes: int, **own: Any) -> nn.Module:
        """A fresh network."""

    def trained_before(self, spec: Any, report: Callable[[str], None]) -> Pretrained | None:
        """The weights that settings ask for; None where they ask for none."""


def _source(name: str) -> _Source:
    try:
        return cast(_Source, import_module(f"onecycle_cli.models.{name}"))
    except ModuleNotFoundError:
        raise InputError(
            f"There are no networks of source {name}.",
            "A newer version may have saved it: update onecycle.",
        ) from None


def build_model(spec: NetworkSpec, *, channels: int, classes: int, seed: int) -> nn.Module:
    """A fresh network on the CPU; the weights follow from `seed`, and the state of no other generator changes."""
    return network_from(network_arguments(spec, channels=channels, classes=classes), seed=seed)


def network_arguments(spec: NetworkSpec, *, channels: int, classes: int) -> dict[str, Any]:
    """What a network is built from, as JSON has it: saved weights keep it, and `network_from` builds it again."""
    arguments = {"source": spec.source, "architecture": spec.architecture} | _source(spec.source).own_arguments(spec)
    return arguments | {"dropout": spec.dropout, "channels": channels, "classes": classes}


def network_from(arguments: Mapping[str, Any], *, seed: int) -> nn.Module:
    """A fresh network from `network_arguments`; those of files from before there were sources name none."""
    arguments = {"source": "onecycle"} | dict(arguments)
    source = arguments.pop("source")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _source(source).build(**arguments)


def pretrained_weights(spec: NetworkSpec, report: Callable[[str], None]) -> Pretrained | None:
    """The weights of its source that a network is to start from, downloaded where need be; None where it has none."""
    return _source(spec.source).trained_before(spec, report)


def layer_groups(model: nn.Module) -> dict[str, nn.Module]:
    """The parts of a network from the image on, which may be frozen or have an lr of their own, by their names.

    These are stem, layer1, layer2, ..., head. Each parameter is in one of them; together they are in the model's order.
    """
    assert isinstance(model, ResNet | ResNet9)
    stem, *layers = (model.stem, *model.stages) if isinstance(model, ResNet) else model.body
    named = {f"layer{number}": layer for number, layer in enumerate(layers, start=1)}
    return {"stem": stem} | named | {"head": model.head}
