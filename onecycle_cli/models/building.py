"""Builds the network that a recipe's `model` section describes.

Each source of networks is a file in this folder, named as the source, with the four functions of `_Source`.
"""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from onecycle_cli.errors import InputError
from onecycle_cli.models.own_code import NO_CODE, OwnCode


class NetworkSpec(Protocol):
    """The settings of a network. Each source adds its own."""

    @property
    def source(self) -> str: ...


@dataclass(frozen=True)
class Pretrained:
    """Trained weights of a source: their name in messages, their classes, and how their images were prepared.

    `weights` has the parameter names of the built network. `mean` and `std` have one value per channel, on a scale from
    0 to 1. `interpolation` is the name of the resize filter; None if the source does not say it.
    """

    name: str
    weights: dict[str, Tensor]
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str | None = None


class _Source(Protocol):
    """The functions of a source's file."""

    def own_arguments(self, spec: Any, *, image_size: int) -> dict[str, Any]:
        """Returns the arguments of `build` that follow from the settings, as JSON values."""

    def build(self, *, channels: int, classes: int, code: OwnCode, **own: Any) -> nn.Module:
        """Builds a network with random initial weights."""

    def in_words(self, own: Mapping[str, Any]) -> str:
        """Names a network by its arguments, for messages: "a resnet8"."""

    def trained_before(self, spec: Any, *, channels: int, image_size: int, report: Callable[[str], None]) -> Any:
        """Returns the trained weights that the settings ask for as `Pretrained`, or None."""


def _source(name: str) -> _Source:
    try:
        return cast(_Source, import_module(f"onecycle_cli.models.sources.{name}"))
    except ModuleNotFoundError as error:
        if error.name != f"onecycle_cli.models.sources.{name}":
            raise
        raise InputError(
            f"There are no networks of source {name}.",
            "A newer version may have saved it: update onecycle.",
        ) from None


def build_model(
    spec: NetworkSpec, *, channels: int, classes: int, image_size: int, seed: int, code: OwnCode = NO_CODE
) -> nn.Module:
    """Builds a network on the CPU with initial weights drawn from `seed`; the global random state does not change.

    `channels` and `image_size` are those of the images, in pixels. `code` says whether code of the user may run.
    `InputError` if the source has no such network, or it cannot be built for such images.
    """
    arguments = network_arguments(spec, channels=channels, classes=classes, image_size=image_size)
    return network_from(arguments, seed=seed, code=code)


def network_arguments(spec: NetworkSpec, *, channels: int, classes: int, image_size: int) -> dict[str, Any]:
    """Returns the arguments that a network is built from, as JSON values, for `network_from` and saved weights."""
    own = _source(spec.source).own_arguments(spec, image_size=image_size)
    return {"source": spec.source} | own | {"channels": channels, "classes": classes}


def network_from(arguments: Mapping[str, Any], *, seed: int, code: OwnCode = NO_CODE) -> nn.Module:
    """Builds a network from `network_arguments`, with weights drawn from `seed`. Old files name no source."""
    source, own = _split(arguments)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return _source(source).build(**own, code=code)


def network_in_words(arguments: Mapping[str, Any]) -> str:
    """Names a network by its `network_arguments`, for messages: "a resnet8", "torchvision's resnet18"."""
    source, own = _split(arguments)
    return _source(source).in_words(own)


def _split(arguments: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    own = {"source": "onecycle"} | dict(arguments)
    return own.pop("source"), own


def pretrained_weights(
    spec: NetworkSpec, *, channels: int, image_size: int, report: Callable[[str], None]
) -> Pretrained | None:
    """Returns the trained weights of its source that a network starts from, downloaded if needed; else None."""
    source = _source(spec.source)
    found = source.trained_before(spec, channels=channels, image_size=image_size, report=report)
    return cast("Pretrained | None", found)


ROW_MAJOR = ("module", "python")
"""The sources whose networks get row-major images and keep row-major weights.

Channels last is faster, but a network of a user may call `view` on an image, which fails for channels last.
"""


def on_device(model: nn.Module, source: str, device: torch.device) -> nn.Module:
    """Moves a network to a device, with its convolutions in the memory layout that is best for its source."""
    if source in ROW_MAJOR:
        return model.to(device)
    return model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]


def unknown_network(name: str, source: str, known: Sequence[str], fix: str) -> InputError:
    """Returns the error for a name that a source does not have, with the most similar names that it has."""
    begun = [one for one in known if name and one.startswith(name)]  # vit_tiny: vit_tiny_patch16_224
    close = list(dict.fromkeys([*begun[:3], *difflib.get_close_matches(name, known, n=3, cutoff=0.5)]))[:3]
    meant = f" Did you mean {' or '.join(close)}?" if close else ""
    return InputError(f"{source} has no classifier called {name}.{meant}", fix)
