"""The source "python": a network object that was given to `train` or `find_lr` in Python."""

import copy
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import nn

from onecycle_cli.errors import InputError
from onecycle_cli.models.building import NetworkSpec
from onecycle_cli.models.own_code import OwnCode
from onecycle_cli.models.sources.module import with_row_major_images


class PythonSpec(NetworkSpec, Protocol):
    """The settings of a network object: the name of its class, which the run records."""

    @property
    def class_name(self) -> str: ...


def own_arguments(spec: PythonSpec, *, image_size: int) -> dict[str, Any]:  # noqa: ARG001
    """Returns the arguments of `build` that follow from the settings."""
    return {"class_name": spec.class_name}


def build(*, class_name: str, channels: int, classes: int, code: OwnCode) -> nn.Module:  # noqa: ARG001
    """Copies the network that was given, with its weights. `InputError` if none was given."""
    if code.network is None:
        raise InputError(
            f"The network is an object of class {class_name} that was given in Python, and is not stored.",
            'Load it in Python: load_model(run, model=...). A function in a file, with model.source "module", '
            "is found again by every command.",
        )
    return with_row_major_images(copy.deepcopy(code.network))


def in_words(own: Mapping[str, Any]) -> str:
    """Names a network for messages."""
    return f"a {own['class_name']} that was given in Python"


def trained_before(_spec: PythonSpec, *, channels: int, image_size: int, report: Callable[[str], None]) -> None:
    """Returns None: the network that was given has its weights."""
