"""The source "onecycle": the networks of `networks.py` by their names, for small images."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import nn

from onecycle_cli.models.building import NetworkSpec
from onecycle_cli.models.networks import Cnn, ResNet9, small_resnet
from onecycle_cli.models.own_code import OwnCode

CIFAR_BLOCKS = {f"resnet{6 * n + 2}": n for n in (1, 3, 5, 7, 9, 18)}
"""The number of blocks per stage of each CIFAR ResNet, by architecture.

The depth is 6n + 2: a stem, three stages of n blocks with two convolutions each, a head.
"""


class OnecycleSpec(NetworkSpec, Protocol):
    """The settings of a network of source "onecycle"."""

    @property
    def architecture(self) -> str: ...
    @property
    def dropout(self) -> float: ...
    @property
    def width(self) -> float: ...
    @property
    def shortcut(self) -> str: ...
    @property
    def norm(self) -> str: ...


def own_arguments(spec: OnecycleSpec, *, image_size: int) -> dict[str, Any]:  # noqa: ARG001
    """Returns the arguments of `build` that follow from the settings; the networks suit any image size."""
    own = {"architecture": spec.architecture, "width": spec.width, "shortcut_kind": spec.shortcut}
    return own | ({} if spec.norm == "batch" else {"norm": spec.norm}) | {"dropout": spec.dropout}


def build(
    *,
    architecture: str,
    width: float,
    shortcut_kind: str,
    dropout: float,
    channels: int,
    classes: int,
    code: OwnCode,  # noqa: ARG001
    norm: str = "batch",
) -> nn.Module:
    """Builds a network with random initial weights. `width` multiplies the channels of each layer."""

    def widths(*base: int) -> list[int]:
        return [max(1, round(width * number)) for number in base]

    common: dict[str, Any] = {"norm": norm, "dropout": dropout, "channels": channels, "classes": classes}
    if architecture == "cnn":
        return Cnn(widths(32, 64, 128), **common)
    if architecture == "resnet9":
        return ResNet9(widths(64, 128, 256, 512), **common)
    if architecture == "resnet18":
        blocks, channels_of_stages = [2, 2, 2, 2], widths(64, 128, 256, 512)
    else:
        blocks, channels_of_stages = [CIFAR_BLOCKS[architecture]] * 3, widths(16, 32, 64)
    return small_resnet(blocks, channels_of_stages, shortcut_kind=shortcut_kind, **common)


def in_words(own: Mapping[str, Any]) -> str:
    """Names a network for messages."""
    return f"a {own['architecture']}"


def trained_before(_spec: OnecycleSpec, *, channels: int, image_size: int, report: Callable[[str], None]) -> None:
    """Returns None: this source has no trained weights."""
