"""The networks: those for CIFAR-sized images in `networks.py`, and torchvision's in `imagenet.py`."""

from onecycle_cli.models.building import CIFAR_BLOCKS, build_model, layer_groups
from onecycle_cli.models.imagenet import Pretrained, pretrained

__all__ = ["CIFAR_BLOCKS", "Pretrained", "build_model", "layer_groups", "pretrained"]
