"""Calls networks of any author: checks one before its first step, and tells its errors in words for its author."""

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parameter import UninitializedParameter

from onecycle_cli.errors import InputError, is_out_of_memory
from onecycle_cli.training.hardware import Hardware
from onecycle_cli.training.python_state import random_state
from onecycle_cli.training.ranks import is_lost_rank

PACKAGE, TORCH = Path(__file__).parent.parent, Path(torch.__file__).parent


def call_network(model: nn.Module, images: Tensor) -> Any:
    """Calls a network; an error in the code of its author becomes an `InputError` that says where it was raised.

    Other errors are raised as they are: those of this package, which are bugs, a lack of memory, and a lost rank.
    """
    try:
        return model(images)
    except Exception as error:
        place = _place(error)
        if place is None or is_out_of_memory(error) or is_lost_rank(error):
            raise
        said = str(error).strip().partition("\n")[0]
        raise InputError(
            f"The network raised {type(error).__name__} in {place}{': ' if said else '.'}{said}",
            f"Correct it there: it is given images, float32 {tuple(images.shape)}, on {images.device.type}.",
        ) from error


def _place(error: Exception) -> str | None:
    """Returns where the code of a network raised an error: of its frames outside of torch, the last one.

    A frame of a file outside of installed packages comes first, because it is the author's. None if the frame is one of
    this package.
    """
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_below(frame.filename, TORCH)]
    others = [frame for frame in frames if not _is_below(frame.filename, PACKAGE)]
    authors = [frame for frame in others if "site-packages" not in Path(frame.filename).parts]
    if not others:
        return None
    last = (authors or others)[-1]
    return f"{last.filename}, line {last.lineno}, in {last.name}"


def _is_below(file: str, folder: Path) -> bool:
    return Path(file).is_relative_to(folder)


@dataclass(frozen=True)
class Checked:
    """What a check found: the trainable parameters that took no part in the loss, by name, and other peculiarities.

    `draws_outside_torch` is whether the network drew random numbers from Python or NumPy.
    """

    unused: tuple[str, ...] = ()
    draws_outside_torch: bool = False

    @property
    def notes(self) -> list[str]:
        """Sentences for the person who trains the network."""
        notes = []
        if self.unused:
            notes.append(
                f"Parameters that take no part in the loss are not trained and do not decay: {_listed(self.unused)}."
            )
        if self.draws_outside_torch:
            notes.append(
                "The network draws random numbers from Python or NumPy, which the recipe's seed does not set, so two "
                "trainings differ. Those of torch are seeded in each step."
            )
        return notes


def check_network(model: nn.Module, images: Tensor, classes: int, hardware: Hardware) -> Checked:
    """Computes the logits and the gradient of a few normalized images; weights and statistics stay as they are.

    `images` is float32 (B, channels, height, width), on the device of `model`. `InputError` if a parameter is not
    float32 or has no size yet, if the network raises an error, if it returns anything but logits (B, classes), in
    training or in scoring, or if the logits do not depend on its parameters. If memory does not suffice, nothing is
    checked, because the first step tells more.
    """
    _check_parameters(model)
    mode, state = model.training, {name: tensor.clone() for name, tensor in model.state_dict().items()}
    devices = [images.device] if images.is_cuda else []
    drawn = random_state()
    try:
        with torch.random.fork_rng(devices):
            with torch.no_grad():
                _check_logits(_logits(model.eval(), images, hardware), images, classes, "in scoring")
            logits = _logits(model.train(), images, hardware)
            _check_logits(logits, images, classes, "in training")
            _backward(logits)
        named = model.named_parameters()
        unused = tuple(name for name, one in named if one.requires_grad and one.grad is None)
        _check_gradients(model)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return Checked()
    finally:
        model.zero_grad()
        model.train(mode)
        with torch.no_grad():
            for name, tensor in model.state_dict().items():
                tensor.copy_(state[name])
    return Checked(unused, random_state() != drawn)


def _check_parameters(model: nn.Module) -> None:
    parameters = dict(model.named_parameters())
    if not any(parameter.requires_grad for parameter in parameters.values()):
        raise InputError("The network has no parameters to train.", "Return a network whose parameters need gradients.")
    if lazy := [name for name, one in parameters.items() if isinstance(one, UninitializedParameter)]:
        raise InputError(
            f"The network has layers that have no size before their first call: {_listed(lazy)}.",
            "Give these layers their sizes, or call the network once on images before you return it.",
        )
    others = [f"{name} ({one.dtype})" for name, one in parameters.items() if one.dtype != torch.float32]
    if others:
        raise InputError(
            f"The network has parameters that are not float32: {_listed(others)}.",
            "Convert them with .float(); runtime.precision sets the precision in which a step computes.",
        )


def _logits(model: nn.Module, images: Tensor, hardware: Hardware) -> Any:
    with hardware.autocast():
        return call_network(model, images)


def _check_logits(logits: object, images: Tensor, classes: int, when: str) -> None:
    wanted = (len(images), classes)
    if isinstance(logits, Tensor) and tuple(logits.shape) == wanted and logits.is_floating_point():
        return
    raise InputError(
        f"The network returned {_described(logits)} {when}, for {len(images)} images and {classes} classes.",
        f"It must return the logits, one tensor of floats {wanted}: a number for each image and class.",
    )


def _described(value: object) -> str:
    match value:
        case Tensor():
            return f"a tensor of {str(value.dtype).removeprefix('torch.')} {tuple(value.shape)}"
        case Mapping():
            return f"a {type(value).__name__} with {_listed([repr(key) for key in value])}"
        case list() | tuple():
            return f"a {type(value).__name__} of {_listed([_described(inner) for inner in value]) or 'nothing'}"
    return f"a {type(value).__name__}"


def _backward(logits: Tensor) -> None:
    if not logits.requires_grad:
        raise InputError(
            "The logits of the network do not depend on its parameters, so there is nothing to train.",
            "Compute them from the parameters, without torch.no_grad() or .detach().",
        )
    try:
        F.cross_entropy(logits.float(), torch.zeros(len(logits), dtype=torch.int64, device=logits.device)).backward()
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        said = str(error).strip().partition("\n")[0]
        raise InputError(
            f"The gradient of the network cannot be computed: {said}", "Correct its forward, or its own backward."
        ) from error


def _check_gradients(model: nn.Module) -> None:
    sparse = [name for name, one in model.named_parameters() if one.grad is not None and one.grad.is_sparse]
    if sparse:
        raise InputError(f"The network has sparse gradients: {_listed(sparse)}.", "Make them dense: sparse=False.")


def _listed(names: Sequence[str], most: int = 5) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
