"""Builds the network that a recipe's `model` section describes, and names its layer groups."""

import torch
from torch import nn

from onecycle_cli.models.imagenet import imagenet_resnet
from onecycle_cli.models.networks import ResNet, ResNet9, small_resnet

CIFAR_BLOCKS = {f"resnet{6 * n + 2}": n for n in (1, 3, 5, 7, 9, 18)}
"""The number of blocks per stage of each CIFAR ResNet, by architecture.

The depth is 6n + 2: a stem, three stages of n blocks with two convolutions each, a head.
"""


def build_model(
    architecture: str,
    *,
    width: float,
    shortcut_kind: str,
    dropout: float,
    channels: int,
    classes: int,
    seed: int,
    source: str = "onecycle",
) -> nn.Module:
    """Builds a network on the CPU with initial weights drawn from `seed`; the global random state does not change.

    With `source` "torchvision" it is torchvision's ResNet for images of 3 channels; `width`, `shortcut_kind` and
    `channels` are ignored.
    """

    def widths(*base: int) -> list[int]:
        return [max(1, round(width * number)) for number in base]

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if source == "torchvision":
            return imagenet_resnet(architecture, dropout=dropout, classes=classes)
        if architecture == "resnet9":
            return ResNet9(widths(64, 128, 256, 512), dropout=dropout, channels=channels, classes=classes)
        if architecture == "resnet18":
            blocks, channels_of_stages = [2, 2, 2, 2], widths(64, 128, 256, 512)
        else:
            blocks, channels_of_stages = [CIFAR_BLOCKS[architecture]] * 3, widths(16, 32, 64)
        return small_resnet(
            blocks,
            channels_of_stages,
            shortcut_kind=shortcut_kind,
            dropout=dropout,
            channels=channels,
            classes=classes,
        )


def layer_groups(model: nn.Module) -> dict[str, nn.Module]:
    """Returns the layer groups of a network by name, from the input on: stem, layer1, layer2, ..., head.

    Each group may be frozen or have a separate lr. Each parameter is in exactly one group, in the order of the model.
    """
    assert isinstance(model, ResNet | ResNet9)
    stem, *layers = (model.stem, *model.stages) if isinstance(model, ResNet) else model.body
    named = {f"layer{number}": layer for number, layer in enumerate(layers, start=1)}
    return {"stem": stem} | named | {"head": model.head}
