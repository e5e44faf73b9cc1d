"""The source "timm": every image classifier of timm by its name, with random or trained weights.

timm is an optional dependency, the extra `timm`.
"""

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from torch import nn

from onecycle_cli.errors import InputError, MachineError, is_out_of_memory, missing_packages
from onecycle_cli.models.building import NetworkSpec, Pretrained, unknown_network
from onecycle_cli.models.own_code import OwnCode


class TimmSpec(NetworkSpec, Protocol):
    """The settings of a timm network."""

    @property
    def architecture(self) -> str: ...
    @property
    def dropout(self) -> float: ...
    @property
    def drop_path(self) -> float: ...
    @property
    def pretrained(self) -> bool: ...
    @property
    def weights(self) -> str | None: ...


def own_arguments(spec: TimmSpec, *, image_size: int) -> dict[str, Any]:
    """Returns the arguments of `build` that follow from the settings."""
    own = {"architecture": spec.architecture, "dropout": spec.dropout, "drop_path": spec.drop_path}
    return own | {"image_size": image_size}


def build(
    *,
    architecture: str,
    dropout: float,
    drop_path: float,
    image_size: int,
    channels: int,
    classes: int,
    code: OwnCode,  # noqa: ARG001
) -> nn.Module:
    """Builds a network with random initial weights. `InputError` if timm cannot build it for these settings."""
    return _created(architecture, _settings(architecture, dropout, drop_path, image_size, channels, classes))


def in_words(own: Mapping[str, Any]) -> str:
    """Names a network for messages."""
    return f"timm's {own['architecture']}"


def trained_before(
    spec: TimmSpec, *, channels: int, image_size: int, report: Callable[[str], None]
) -> Pretrained | None:
    """Returns the trained weights of the settings, from timm's hub or from a file; None if they ask for none.

    timm adapts them to the channels and the image size. `MachineError` if the download fails. `InputError` if timm has
    no trained weights of this network, or the file does not hold weights of it.
    """
    if not (spec.pretrained or spec.weights):
        return None
    timm = _timm()
    _must_exist(timm, spec.architecture)
    trained_on = timm.get_pretrained_cfg(spec.architecture)
    if not spec.weights and not (trained_on.hf_hub_id or trained_on.url or trained_on.file):
        raise InputError(
            f"timm has no trained weights of {spec.architecture}.",
            "Set model.pretrained to false, or name a file in model.weights.",
        )
    if not spec.weights:
        report(f"Loading the trained weights of timm's {spec.architecture}, downloaded if they are not in its cache.")
    classes = _classes_in(spec.weights, trained_on) if spec.weights else trained_on.num_classes
    settings = _settings(spec.architecture, 0.0, 0.0, image_size, channels, classes)
    overlay = {"file": spec.weights, "num_classes": classes} if spec.weights else None
    model = _created(spec.architecture, settings | {"pretrained": True, "pretrained_cfg_overlay": overlay})
    mean, std = (_for_channels(values, channels) for values in (trained_on.mean, trained_on.std))
    return Pretrained(
        f"the weights of timm's {spec.architecture} in {spec.weights}"
        if spec.weights
        else f"timm's {spec.architecture}.{trained_on.tag or 'default'}",
        model.state_dict(),
        _class_names(trained_on, classes),
        mean,
        std,
        trained_on.interpolation,
    )


def _timm() -> Any:
    try:
        import timm
    except ImportError:
        raise missing_packages("model.source timm", "timm", "timm") from None
    return timm


def _must_exist(timm: Any, architecture: str) -> None:
    if not timm.is_model(architecture):
        fix = '`python -c "import timm; print(timm.list_models())"` lists them all.'
        raise unknown_network(architecture, f"timm {timm.__version__}", timm.list_models(), fix)


def _settings(
    architecture: str, dropout: float, drop_path: float, image_size: int, channels: int, classes: int
) -> dict[str, Any]:
    """Returns the arguments of timm's `create_model`. Only networks of a fixed image size are told the size."""
    timm = _timm()
    _must_exist(timm, architecture)
    settings: dict[str, Any] = {"in_chans": channels, "num_classes": classes}
    # A name of 0 is omitted, because not every network of timm knows these names.
    settings |= {"drop_rate": dropout} if dropout else {}
    settings |= {"drop_path_rate": drop_path} if drop_path else {}
    if timm.get_pretrained_cfg(architecture).fixed_input_size:
        settings["img_size"] = image_size
    return settings


OFFLINE = ("LocalEntryNotFoundError", "OfflineModeIsEnabled", "ConnectError", "ConnectionError", "URLError")
"""The names of the errors of a download without a network, in Hugging Face's hub, httpx, requests and urllib."""


def _created(architecture: str, settings: dict[str, Any]) -> nn.Module:
    try:
        with _quiet():
            model: nn.Module = _timm().create_model(architecture, **settings)
    except Exception as error:  # timm's networks and its hub raise many kinds
        if is_out_of_memory(error):
            raise
        kinds = {kind.__name__ for kind in type(error).__mro__}
        why = str(error).partition("\n")[0] or type(error).__name__
        if settings.get("pretrained") and not settings.get("pretrained_cfg_overlay") and kinds & {*OFFLINE, "OSError"}:
            raise MachineError(
                f"The trained weights of timm's {architecture} are not in the cache and cannot be downloaded: {why}",
                "Check the network, or download them on another machine and name the file in model.weights.",
            ) from None
        raise InputError(
            f"timm cannot build {architecture} with {_listed(settings)}: {type(error).__name__}: {why}",
            "Change model.dropout, model.drop_path, model.weights or data.image_size, or choose another architecture.",
        ) from None
    return model


def _listed(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in settings.items() if value is not None)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps timm's log and progress bars off the terminal; standard output is for results."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _for_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """Returns a value for each channel: the mean of the three for grey images."""
    return tuple(values) if channels == len(values) else (sum(values) / len(values),) * channels


def _classes_in(file: str, trained_on: Any) -> int:
    """Returns the number of classes of the weights in a file; that of timm's own weights if the file has no head.

    `InputError` if the file cannot be read as weights alone: a pickle in it could run code.
    """
    from timm.models import load_state_dict

    head = trained_on.classifier[0] if isinstance(trained_on.classifier, tuple | list) else trained_on.classifier
    try:
        weights = load_state_dict(file, weights_only=True)
    except Exception as error:  # torch, pickle and safetensors raise many kinds
        if is_out_of_memory(error):
            raise
        why = str(error).partition("\n")[0] or type(error).__name__
        raise InputError(
            f"{file} cannot be read as weights: {why}", "Name a safetensors file, or a state_dict that torch saved."
        ) from None
    found = weights.get(f"{head}.weight")
    return int(trained_on.num_classes if found is None else found.shape[0])


def _class_names(trained_on: Any, classes: int) -> tuple[str, ...]:
    """Returns the names of the classes of trained weights; "class 0", "class 1" and so on where timm has no names."""
    names = tuple(trained_on.label_names or ())
    return names if len(names) == classes else tuple(f"class {number}" for number in range(classes))
