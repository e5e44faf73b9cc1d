"""From the settings of a recipe's `model` section to a network, and the parts that every network has."""

import torch
from torch import nn

from onecycle_cli.models.imagenet import imagenet_resnet
from onecycle_cli.models.networks import ResNet, ResNet9, small_resnet

# Depth 6n + 2: a stem, three stages of n blocks with two convolutions each, a head.
CIFAR_BLOCKS = {f"resnet{6 * n + 2}": n for n in (1, 3, 5, 7, 9, 18)}


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
    """A fresh network on the CPU; the weights follow from `seed`, and the state of no other generator changes.

    Of source "torchvision" it is torchvision's own, which has one width and one kind of shortcut, for 3 channels.
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
    """The parts of a network from the image on, which may be frozen or have an lr of their own, by their names.

    These are stem, layer1, layer2, ..., head. Each parameter is in one of them; together they are in the model's order.
    """
    assert isinstance(model, ResNet | ResNet9)
    stem, *layers = (model.stem, *model.stages) if isinstance(model, ResNet) else model.body
    named = {f"layer{number}": layer for number, layer in enumerate(layers, start=1)}
    return {"stem": stem} | named | {"head": model.head}
