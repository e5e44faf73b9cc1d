"""The source "onecycle": the networks of `networks.py` by their names, for small images."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import nn

from onecycle_cli.models.building import NetworkSpec, Pretrained
from onecycle_cli.models.networks import ResNet9, small_resnet

CIFAR_BLOCKS = {f"resnet{6 * n + 2}": n for n in (1, 3, 5, 7, 9, 18)}
"""The number of blocks per stage of each CIFAR ResNet, by architecture.

The depth is 6n + 2: a stem, three stages of n blocks with two convolutions each, a head.
"""


class OnecycleSpec(NetworkSpec, Protocol):
    """The settings of a network of source "onecycle"."""

    @property
    def width(self) -> float: ...
    @property
    def shortcut(self) -> str: ...


def own_arguments(spec: OnecycleSpec) -> dict[str, Any]:
    """Returns the arguments of `build` that other sources lack."""
    return {"width": spec.width, "shortcut_kind": spec.shortcut}


def build(
    architecture: str, *, width: float, shortcut_kind: str, dropout: float, channels: int, classes: int
) -> nn.Module:
    """Builds a network with random initial weights. `width` multiplies the channels of each layer."""

    def widths(*base: int) -> list[int]:
        return [max(1, round(width * number)) for number in base]

    if architecture == "resnet9":
        return ResNet9(widths(64, 128, 256, 512), dropout=dropout, channels=channels, classes=classes)
    if architecture == "resnet18":
        blocks, channels_of_stages = [2, 2, 2, 2], widths(64, 128, 256, 512)
    else:
        blocks, channels_of_stages = [CIFAR_BLOCKS[architecture]] * 3, widths(16, 32, 64)
    return small_resnet(
        blocks, channels_of_stages, shortcut_kind=shortcut_kind, dropout=dropout, channels=channels, classes=classes
    )


def trained_before(_spec: OnecycleSpec, _report: Callable[[str], None]) -> Pretrained | None:
    """Returns None: this source has no trained weights."""
    return None
