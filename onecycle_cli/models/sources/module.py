"""The source "module": a function of the user that makes a network, in a file or in an installed package.

The function runs only if the user trusts it (`OwnCode.trusted`): a recipe must not run code by itself.
"""

import hashlib
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, cast

from torch import nn

from onecycle_cli.errors import InputError, is_out_of_memory, naming
from onecycle_cli.models.building import NetworkSpec
from onecycle_cli.models.own_code import OwnCode


class ModuleSpec(NetworkSpec, Protocol):
    """The settings of a network that a function of the user makes."""

    @property
    def function(self) -> str: ...
    @property
    def arguments(self) -> Mapping[str, Any]: ...


def own_arguments(spec: ModuleSpec, *, image_size: int) -> dict[str, Any]:  # noqa: ARG001
    """Returns the arguments of `build` that follow from the settings."""
    return {
        "function": spec.function,
        "arguments": dict(spec.arguments),
        "sha256": source_hash(spec.function),
    }


def build(
    *,
    function: str,
    arguments: Mapping[str, Any],
    channels: int,
    classes: int,
    code: OwnCode,
    sha256: str | None = None,
) -> nn.Module:
    """Calls the user's function with `channels`, `classes` and `arguments`, and returns its network.

    The images are made row-major before the network gets them. `InputError` if the code is not trusted, has another
    hash than `sha256` (`source_hash`; None: not checked), cannot be imported or raises an error, or if it returns
    something else than a network with parameters.
    """
    if code.trusted and sha256 is not None and source_hash(function) not in (sha256, None):
        raise changed(function)
    make = load_function(function, code)
    try:
        model = make(channels=channels, classes=classes, **arguments)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        given = ", ".join(
            f"{name}={value!r}" for name, value in {"channels": channels, "classes": classes, **arguments}.items()
        )
        raise InputError(
            f"{function} raised {_in_words(error, function)}.",
            f"It was called with {given}. It must take these, and return a torch.nn.Module.",
        ) from None
    if not isinstance(model, nn.Module):
        raise InputError(
            f"{function} returned {type(model).__name__}, not a torch.nn.Module.",
            "Return the network itself, not its class.",
        )
    if not any(True for _ in model.parameters()):
        raise InputError(f"{function} returned a network without parameters.", "There is nothing to train.")
    return with_row_major_images(model)


def with_row_major_images(model: nn.Module) -> nn.Module:
    """Makes the images row-major before `model` gets them, so that it may call `view` on them."""
    model.register_forward_pre_hook(lambda _, images: tuple(image.contiguous() for image in images))
    return model


def load_function(function: str, code: OwnCode) -> Callable[..., Any]:
    """Imports a function named as `path/to/file.py:name` or `package.module:name`.

    `InputError` if the code is not trusted, or there is no such file, module or function.
    """
    if not code.trusted:
        raise InputError(
            f"The network is code that is not part of onecycle: {function}.",
            "Read that code. If you trust it, add --trust-code (in Python: trust_code=True).",
        )
    where, _, name = function.rpartition(":")
    module = _from_file(where, function) if where.endswith(".py") else _from_package(where, function)
    found = getattr(module, name, None)
    if not callable(found):
        known = [one for one, value in vars(module).items() if callable(value) and one[0] != "_"]
        raise InputError(f"{where} has no function {name}.", f"It has {', '.join(sorted(known)) or 'none'}.")
    return cast(Callable[..., Any], found)


def _from_file(path: str, function: str) -> ModuleType:
    if not Path(path).is_file():
        raise InputError(f"There is no file {path}.", "model.function is path/to/file.py:name or package.module:name.")
    name = f"onecycle_own_{hashlib.sha256(path.encode(errors='surrogateescape')).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # classes that the file defines find their module by this name
    beside = str(Path(path).parent)
    sys.path.insert(0, beside)  # the file may import the files beside it
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception | SystemExit) or is_out_of_memory(error):
            raise
        raise InputError(f"{path} cannot be imported: it raised {_in_words(error, function)}.", "Repair it.") from None
    finally:
        sys.path.remove(beside)
    return module


def _from_package(name: str, function: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise InputError(
            f"{name} cannot be imported: it raised {_in_words(error, function)}.",
            "model.function is path/to/file.py:name or package.module:name, of an installed package.",
        ) from None


def _in_words(error: BaseException, function: str) -> str:
    """Names an error and the last line of the user's code that it came through."""
    path = function.rpartition(":")[0]
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == path] or [
        frame for frame in frames if frame.filename != __file__ and not frame.filename.startswith("<frozen")
    ]
    if isinstance(error, SyntaxError) and error.filename:
        at = f" ({error.filename}, line {error.lineno})"
    else:
        at = f" ({own[-1].filename}, line {own[-1].lineno})" if own else ""
    told = str(error.msg if isinstance(error, SyntaxError) else error).partition("\n")[0]
    return f"{type(error).__name__}{f': {told}' if told else ''}{at}"


def source_hash(function: str) -> str | None:
    """Hashes the file of a function: SHA-256, in hexadecimal digits. Files that it imports are not included.

    No code runs. None if the function is in a package, or the file is missing.
    """
    file = source_file(function)
    if file is None:
        return None
    with naming(file):
        return hashlib.sha256(file.read_bytes()).hexdigest()


def source_file(function: str) -> Path | None:
    """Returns the file of a function `path/to/file.py:name`; None if it is missing, or for a package."""
    path = Path(function.rpartition(":")[0])
    return path if path.suffix == ".py" and path.is_file() else None


def changed(function: str) -> InputError:
    """Returns the error for a file that has changed since a run used it."""
    return InputError(
        f"{function.rpartition(':')[0]} has changed since the run began, so its network may be another one.",
        "Put the file back as it was: the run's folder holds a copy, network.py. Or train again.",
    )


def in_words(own: Mapping[str, Any]) -> str:
    """Names a network for messages."""
    return f"the network of {own['function']}"


def trained_before(_spec: ModuleSpec, *, channels: int, image_size: int, report: Callable[[str], None]) -> None:
    """Returns None: this source has no trained weights."""
