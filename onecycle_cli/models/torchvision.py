"""The source "torchvision": torchvision's ResNets and their ImageNet weights."""

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
"""The weights of each architecture by name, because torchvision's default weights change between versions."""


class TorchvisionSpec(NetworkSpec, Protocol):
    """The settings of a torchvision network."""

    @property
    def pretrained(self) -> bool: ...


def own_arguments(_spec: TorchvisionSpec) -> dict[str, Any]:
    """Returns the width and the shortcut, which are fixed here, but which files of weights have for every network."""
    return {"width": 1.0, "shortcut_kind": "B"}


def build(architecture: str, *, dropout: float, channels: int, classes: int, **_own: Any) -> nn.Module:
    """Builds a network for images of 3 channels, with random initial weights."""
    assert channels == 3  # the recipe ensures it
    return imagenet_resnet(architecture, dropout=dropout, classes=classes)


def trained_before(spec: TorchvisionSpec, report: Callable[[str], None]) -> Pretrained | None:
    """Returns the ImageNet weights if the settings ask for them. Errors as in `pretrained`."""
    return pretrained(spec.architecture, report) if spec.pretrained else None


def imagenet_resnet(architecture: str, *, dropout: float, classes: int) -> ResNet:
    """Builds torchvision's network as a `ResNet`, untrained; for images of 3 channels, designed for 224x224 pixels."""
    import torchvision

    net = torchvision.models.get_model(architecture, weights=None, num_classes=classes)
    return _as_resnet(net, dropout)


def pretrained(architecture: str, report: Callable[[str], None]) -> Pretrained:
    """Loads the ImageNet weights of `architecture` from torch.hub's cache; downloads them if missing.

    `MachineError` when the download fails. `InputError` when the cached file does not hold these weights.
    """
    import torchvision

    chosen = torchvision.models.get_weight(WEIGHTS[architecture])
    net = torchvision.models.get_model(architecture, weights=None)
    file = Path(torch.hub.get_dir()) / "checkpoints" / chosen.url.rpartition("/")[2]
    if not file.is_file():
        report(f"Downloading the ImageNet weights of {architecture} from {chosen.url}.")
        _download(chosen, architecture, file)
    try:
        net.load_state_dict(chosen.get_state_dict(progress=False, map_location="cpu", weights_only=True))
    except (RuntimeError, ValueError, EOFError, AttributeError, TypeError, pickle.UnpicklingError) as error:
        why = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{file} does not hold the ImageNet weights of {architecture}: {why}", "Delete it to download it again."
        ) from None
    normalization = chosen.transforms()
    return Pretrained(
        f"torchvision's {architecture}, trained on ImageNet",
        _as_resnet(net, dropout=0).state_dict(),
        tuple(chosen.meta["categories"]),
        tuple(normalization.mean),
        tuple(normalization.std),
    )


def _download(chosen: Any, architecture: str, file: Path) -> None:
    """Downloads the weights to torch.hub's cache and checks the hash, which is the end of the file name."""
    why = None
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # torch.hub prints to stdout, which is for results
            chosen.get_state_dict(progress=False, check_hash=True, map_location="cpu", weights_only=True)
    except (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError) as error:
        why = str(getattr(error, "reason", None) or error or type(error).__name__)
    except RuntimeError as error:
        why = str(error)
    if why is not None:
        raise MachineError(
            f"{file} with the ImageNet weights of {architecture} is missing, and downloading {chosen.url} failed: "
            f"{why}.",
            f"Check the network, or download that file on another machine and put it into {file.parent}. To use "
            "another folder, set TORCH_HOME.",
        )


def _as_resnet(net: Any, dropout: float) -> ResNet:
    """Moves the layers of torchvision's network into a `ResNet`, which gives them its parameter names."""
    stem = nn.Sequential(net.conv1, net.bn1, net.relu, net.maxpool)
    stages = [net.layer1, net.layer2, net.layer3, net.layer4]
    resnet = ResNet(stem, stages, features=net.fc.in_features, dropout=dropout, classes=net.fc.out_features)
    resnet.head = net.fc
    return resnet
