"""The source "torchvision": torchvision's ResNets, and the weights that they have from ImageNet."""

import contextlib
import http.client
import io
import pickle
import urllib.error
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import nn

from onecycle_cli.errors import InputError, MachineError
from onecycle_cli.models.building import NetworkSpec, Pretrained
from onecycle_cli.models.networks import ResNet

WEIGHTS = {
    "resnet18": "ResNet18_Weights.IMAGENET1K_V1",
    "resnet34": "ResNet34_Weights.IMAGENET1K_V1",
    "resnet50": "ResNet50_Weights.IMAGENET1K_V2",
}
"""By name rather than torchvision's default, which changes with its version."""


class TorchvisionSpec(NetworkSpec, Protocol):
    """The settings of a network of torchvision's."""

    @property
    def pretrained(self) -> bool: ...


def own_arguments(_spec: TorchvisionSpec) -> dict[str, Any]:
    """The arguments that files of weights have for every network: torchvision's have one width and one shortcut."""
    return {"width": 1.0, "shortcut_kind": "B"}


def build(architecture: str, *, dropout: float, channels: int, classes: int, **_own: Any) -> nn.Module:
    """A fresh network, for images of 3 channels."""
    assert channels == 3  # the recipe holds to it
    return imagenet_resnet(architecture, dropout=dropout, classes=classes)


def trained_before(spec: TorchvisionSpec, report: Callable[[str], None]) -> Pretrained | None:
    """What the network has learned on ImageNet, where the settings ask for it; errors as of `pretrained`."""
    return pretrained(spec.architecture, report) if spec.pretrained else None


def imagenet_resnet(architecture: str, *, dropout: float, classes: int) -> ResNet:
    """torchvision's network, its parts called as ours are; for images of 3 channels, made for 224x224 pixels."""
    import torchvision

    net = torchvision.models.get_model(architecture, weights=None, num_classes=classes)
    return _named_as_ours(net, dropout)


def pretrained(architecture: str, report: Callable[[str], None]) -> Pretrained:
    """What torchvision's network has learned on ImageNet, from torch.hub's cache or, once, from the internet.

    `MachineError` where they cannot be had, `InputError` where the file in the cache is none of theirs.
    """
    import torchvision

    chosen = torchvision.models.get_weight(WEIGHTS[architecture])
    net = torchvision.models.get_model(architecture, weights=None)
    file = Path(torch.hub.get_dir()) / "checkpoints" / chosen.url.rpartition("/")[2]
    if not file.is_file():
        report(f"Fetching the ImageNet weights of {architecture} from {chosen.url}.")
        _fetch(chosen, architecture, file)
    try:
        net.load_state_dict(chosen.get_state_dict(progress=False, map_location="cpu", weights_only=True))
    except (RuntimeError, ValueError, EOFError, AttributeError, TypeError, pickle.UnpicklingError) as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{file} does not hold the ImageNet weights of {architecture}: {why}", "Remove it, to fetch it again."
        ) from None
    normalization = chosen.transforms()
    return Pretrained(
        f"torchvision's {architecture}, trained on ImageNet",
        _named_as_ours(net, dropout=0).state_dict(),
        tuple(chosen.meta["categories"]),
        tuple(normalization.mean),
        tuple(normalization.std),
    )


def _fetch(chosen: Any, architecture: str, file: Path) -> None:
    """Puts the weights into the cache, if they have the hash that their name ends with."""
    why = None
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # torch.hub tells of it where results are printed
            chosen.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        why = str(getattr(error, "reason", None) or error or type(error).__name__)
    except RuntimeError as error:
        why = str(error)
    if why is not None:
        raise MachineError(
            f"The ImageNet weights of {architecture} are not in {file}, and {chosen.url} does not give them: {why}.",
            f"Mend the network, or fetch that address elsewhere and put the file into {file.parent}. TORCH_HOME names "
            "another folder.",
        )


def _named_as_ours(net: Any, dropout: float) -> ResNet:
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
    stages = [net.layer1, net.layer2, net.layer3, net.layer4]
    ours = ResNet(stem, stages, features=net.fc.in_features, dropout=dropout, classes=net.fc.out_features)
    ours.head = net.fc
    return ours
