"""The source "onecycle": the networks of `networks.py` by their names, for small images."""

from collections.abc import Callable
from typing import Any, Protocol

from torch import nn

from onecycle_cli.models.building import NetworkSpec, Pretrained
from onecycle_cli.models.networks import ResNet9, small_resnet

# Depth 6n + 2: a stem, three stages of n blocks with two convolutions each, a head.
CIFAR_BLOCKS = {f"resnet{6 * n + 2}": n for n in (1, 3, 5, 7, 9, 18)}


class OnecycleSpec(NetworkSpec, Protocol):
    """The settings of a network of ours."""

    @property
    def width(self) -> float: ...
    @property
    def shortcut(self) -> str: ...


def own_arguments(spec: OnecycleSpec) -> dict[str, Any]:
    """The arguments of `build` that other sources do not have."""
    return {"width": spec.width, "shortcut_kind": spec.shortcut}


def build(
    architecture: str, *, width: float, shortcut_kind: str, dropout: float, channels: int, classes: int
) -> nn.Module:
    """A fresh network; `width` multiplies the channels of each layer."""

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
    """None: there are no weights of ours but those of a person's own trainings."""
    return None
