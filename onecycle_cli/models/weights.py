"""Trained weights as a safetensors file, whose header holds all that is needed to use them."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from onecycle_cli.errors import InputError, from_utf8, naming, to_utf8


@dataclass(frozen=True)
class Header:
    """The model and the preprocessing that belong to the weights: `model` holds the `network_arguments`.

    `mean` and `std` have one value per channel, on a scale from 0 to 1. `value_range` maps images with more than 8 bits
    per channel to 8 bits; it is None if there were none in training, and in files of older versions. `resize` and
    `interpolation` are those of the recipe's `data` section; files of older versions have the defaults.
    """

    model: dict[str, Any]
    classes: tuple[str, ...]
    image_size: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    value_range: tuple[float, float] | None = None
    resize: str = "shorter_side"
    interpolation: str = "bilinear"


def as_bytes(tensors: Mapping[str, Tensor], entries: Mapping[str, str]) -> bytes:
    """Returns the bytes of a safetensors file with `entries` in its header; equal input gives equal bytes.

    `tensors` are those of `as_stored`. The caller writes the file, because safetensors reports an error of the disk as
    an error of the format. safetensors also orders the entries differently in each process; here they are sorted.
    """
    with _panic_as_memory_error():
        shuffled = save(dict(tensors), dict(entries))
    end = 8 + int.from_bytes(shuffled[:8], "little")  # the first 8 bytes are the length of the header
    header = json.dumps(json.loads(shuffled[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # the tensors begin at a multiple of 8 bytes
    return len(header).to_bytes(8, "little") + header + shuffled[end:]


def from_bytes(written: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Returns the tensors and the header entries of a safetensors file.

    It takes bytes, because safetensors cannot open a path that is not UTF-8.
    """
    with _panic_as_memory_error():
        tensors = load(written)  # raises on a bad header
    header = json.loads(written[8 : 8 + int.from_bytes(written[:8], "little")])
    return tensors, header.get("__metadata__", {})


@contextmanager
def _panic_as_memory_error() -> Iterator[None]:
    """Raises a `MemoryError` where Python gives no memory to safetensors.

    It is in Rust: it prints Python's error, then panics with this message, which is no `Exception` and has no cause.
    """
    try:
        yield
    except BaseException as error:
        if str(error) == "PyObject pointer is null":
            raise MemoryError("safetensors got none") from error
        raise


def as_stored(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies tensors to the CPU, row-major, as safetensors needs them; on the device they may be channels last.

    Tensors that share memory, such as the weights of two layers, are stored once for each name.
    """
    stored: dict[str, Tensor] = {}
    places = set()
    for name, tensor in tensors.items():
        one = tensor.detach().cpu().contiguous(memory_format=torch.contiguous_format)
        place = one.untyped_storage().data_ptr()
        stored[name] = one.clone() if place in places else one
        places.add(place)
    return stored


def save_weights(path: Path, weights: Mapping[str, Tensor], header: Header) -> None:
    """Writes the weights (a model's `state_dict`) and the header to a safetensors file; each header entry is JSON.

    The entry `sha256` is a checksum over the weights and the other entries.
    """
    entries = vars(header) | {"classes": [to_utf8(name) for name in header.classes]}
    stored, texts = as_stored(weights), {name: json.dumps(value) for name, value in entries.items()}
    path.write_bytes(as_bytes(stored, texts | {SHA256: json.dumps(checksum(stored, _joined(texts)))}))


SHA256 = "sha256"
"""The entry of a header with the checksum; files of older versions have none."""


def checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    """Returns the SHA-256 of stored tensors, with their names, types and shapes, and of a text."""
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _joined(texts: Mapping[str, str]) -> str:
    return json.dumps({name: text for name, text in texts.items() if name != SHA256}, sort_keys=True)


def load_weights(path: Path) -> tuple[dict[str, Tensor], Header]:
    """Reads a file of `save_weights`; `InputError` when it is missing, damaged, or not such a file."""
    fix = "Name a run of `onecycle train` that has ended; best weights are kept with runtime.save_best."
    if not path.is_file():
        raise InputError(f"There are no weights at {path}.", fix)
    try:
        with naming(path):
            weights, texts = from_bytes(path.read_bytes())
        entries = {name: json.loads(value) for name, value in texts.items()}
        header = Header(
            entries["model"],
            tuple(map(from_utf8, entries["classes"])),
            entries["image_size"],
            tuple(entries["mean"]),
            tuple(entries["std"]),
            _pair(entries.get("value_range")),
            entries.get("resize", "shorter_side"),
            entries.get("interpolation", "bilinear"),
        )
    except (SafetensorError, AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} does not hold weights that onecycle saved ({error}).", fix) from None
    if SHA256 in entries and entries[SHA256] != checksum(weights, _joined(texts)):
        raise InputError(f"{path} is damaged: its checksum does not match.", "Put it back from a copy, or train again.")
    return weights, header


def _pair(value: Sequence[float] | None) -> tuple[float, float] | None:
    if value is None:
        return None
    low, high = value
    return float(low), float(high)
