"""The source "torchvision": every image classifier of torchvision by its name, and its ImageNet weights."""

import contextlib
import http.client
import io
import pickle
import urllib.error
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from onecycle_cli.errors import InputError, MachineError
from onecycle_cli.models.building import NetworkSpec, Pretrained, unknown_network
from onecycle_cli.models.own_code import OwnCode

WEIGHTS = {
    "resnet18": "ResNet18_Weights.IMAGENET1K_V1",
    "resnet34": "ResNet34_Weights.IMAGENET1K_V1",
    "resnet50": "ResNet50_Weights.IMAGENET1K_V2",
}
"""The weights of the architectures that are not to start from torchvision's first weights."""


class TorchvisionSpec(NetworkSpec, Protocol):
    """The settings of a torchvision network."""

    @property
    def architecture(self) -> str: ...
    @property
    def dropout(self) -> float: ...
    @property
    def pretrained(self) -> bool: ...


class LinearAfterDropout(nn.Linear):
    """A linear layer with dropout before it; its parameters are named as those of the layer alone."""

    def __init__(self, linear: nn.Linear, dropout: float) -> None:
        super().__init__(linear.in_features, linear.out_features, linear.bias is not None)
        self.weight, self.bias = linear.weight, linear.bias
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.dropout(x))


def own_arguments(spec: TorchvisionSpec, *, image_size: int) -> dict[str, Any]:
    """Returns the arguments of `build` that follow from the settings."""
    return {"architecture": spec.architecture, "dropout": spec.dropout, "image_size": image_size}


def build(
    *,
    architecture: str,
    dropout: float,
    channels: int,
    classes: int,
    code: OwnCode,  # noqa: ARG001
    image_size: int = 224,
    **_older: Any,
) -> nn.Module:
    """Builds a network for images of 3 channels, with random initial weights.

    `_older` are arguments of earlier versions, which had no effect: width and shortcut_kind.
    """
    assert channels == 3  # the recipe ensures it
    model = _created(architecture, image_size, classes)
    return with_dropout(model, dropout)


def with_dropout(model: nn.Module, dropout: float) -> nn.Module:
    """Sets the dropout before the last layer, and that of the dropout layers which the classifier has anyway."""
    *path, last = next(reversed([name for name, one in model.named_modules() if _has_weights(one)])).split(".")
    owner = model.get_submodule(".".join(path))
    inside = [one for one in owner.children() if isinstance(one, nn.Dropout)] if path else []
    for one in inside:
        one.p = dropout
    head = getattr(owner, last)
    if dropout and not inside and isinstance(head, nn.Linear):
        setattr(owner, last, LinearAfterDropout(head, dropout))
    return model


def _has_weights(module: nn.Module) -> bool:
    return any(True for _ in module.parameters(recurse=False))


def in_words(own: Mapping[str, Any]) -> str:
    """Names a network for messages."""
    return f"torchvision's {own['architecture']}"


def trained_before(
    spec: TorchvisionSpec, *, channels: int, image_size: int, report: Callable[[str], None]
) -> Pretrained | None:
    """Returns the ImageNet weights if the settings ask for them. Errors as in `pretrained`."""
    assert channels == 3  # the recipe ensures it
    return pretrained(spec.architecture, image_size, report) if spec.pretrained else None


def _created(architecture: str, image_size: int, classes: int) -> nn.Module:
    """Builds torchvision's network; some are made for one image size, and some have a second classifier."""
    import torchvision

    known = torchvision.models.list_models(module=torchvision.models)
    if architecture not in known:
        fix = '`python -c "from torchvision import models; print(models.list_models(models))"` lists them all.'
        raise unknown_network(architecture, f"torchvision {torchvision.__version__}", known, fix)
    settings: dict[str, Any] = {"num_classes": classes}
    if architecture.startswith("vit_"):
        settings["image_size"] = image_size
    elif architecture.startswith("maxvit"):
        settings["input_size"] = (image_size, image_size)
    elif architecture in ("googlenet", "inception_v3"):
        settings |= {"aux_logits": False, "init_weights": True}
    try:
        model: nn.Module = torchvision.models.get_model(architecture, weights=None, **settings)
    except (ValueError, RuntimeError, AssertionError) as error:
        raise InputError(
            f"torchvision cannot build {architecture} for images of {image_size} pixels: {error}",
            "Change data.image_size, or choose another architecture.",
        ) from None
    return model


def pretrained(architecture: str, image_size: int, report: Callable[[str], None]) -> Pretrained:
    """Loads the ImageNet weights of `architecture` from torch.hub's cache; downloads them if missing.

    `MachineError` when the download fails. `InputError` when the cached file does not hold these weights, or they are
    for another image size.
    """
    import torchvision

    _created(architecture, image_size, classes=2)  # an unknown name is an error here
    enum = torchvision.models.get_model_weights(architecture)
    # The first ones: torchvision's default changes between versions.
    chosen = torchvision.models.get_weight(WEIGHTS[architecture]) if architecture in WEIGHTS else next(iter(enum))
    file = Path(torch.hub.get_dir()) / "checkpoints" / chosen.url.rpartition("/")[2]
    if not file.is_file():
        report(f"Downloading the ImageNet weights of {architecture} from {chosen.url}.")
        _download(chosen, architecture, file)
    try:
        weights = dict(chosen.get_state_dict(progress=False, map_location="cpu", weights_only=True))
    except (RuntimeError, ValueError, EOFError, AttributeError, TypeError, pickle.UnpicklingError) as error:
        raise _other_weights(file, architecture, str(error) or type(error).__name__) from None
    classes = tuple(chosen.meta["categories"])
    expected = _created(architecture, image_size, len(classes)).state_dict()
    # A second classifier, for training from scratch, is left out.
    weights = {name: weight for name, weight in weights.items() if name in expected or not name.startswith("aux")}
    wrong = [
        name
        for name in {**expected, **weights}
        if name not in weights or name not in expected or weights[name].shape != expected[name].shape
    ]
    if wrong:
        if architecture.startswith(("vit_", "maxvit")) and set(weights) == set(expected):
            raise InputError(
                f"The ImageNet weights of {architecture} are for other images than {image_size} pixels.",
                f"Set data.image_size to {min(chosen.meta['min_size'])}.",
            )
        raise _other_weights(file, architecture, f"{', '.join(wrong[:3])} differ")
    normalization = chosen.transforms()
    return Pretrained(
        f"torchvision's {architecture}, trained on ImageNet",
        weights,
        classes,
        tuple(normalization.mean),
        tuple(normalization.std),
        normalization.interpolation.value,
    )


def _other_weights(file: Path, architecture: str, why: str) -> InputError:
    return InputError(
        f"{file} does not hold the ImageNet weights of {architecture}: {why.partition(chr(10))[0]}",
        "Delete it to download it again.",
    )


OLDER_NAMES = {
    "stem.0.": "conv1.",
    "stem.1.": "bn1.",
    **{f"stages.{number - 1}.": f"layer{number}." for number in range(1, 5)},
    "head.": "fc.",
}
"""The beginnings of parameter names in files of versions before 0.2, and torchvision's own names."""


def with_torchvision_names(weights: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """Renames the weights of a ResNet in a file of an earlier version; leaves all others as they are.

    `prefix` is before each name, such as "model." in a checkpoint.
    """
    if f"{prefix}stem.0.weight" not in weights:
        return dict(weights)

    def renamed(name: str) -> str:
        for old, new in OLDER_NAMES.items():
            if name.startswith(f"{prefix}{old}"):
                return f"{prefix}{new}{name.removeprefix(f'{prefix}{old}')}"
        return name

    return {renamed(name): weight for name, weight in weights.items()}


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
