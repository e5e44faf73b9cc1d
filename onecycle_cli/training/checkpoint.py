"""A checkpoint as one file: tensors and a JSON object with a checksum over both. Reading it never runs code."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from onecycle_cli.errors import InputError, naming
from onecycle_cli.models.weights import as_bytes, as_stored, from_bytes


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Writes tensors of any device and the JSON object `values`; floats keep every bit."""
    stored, text = as_stored(tensors), json.dumps(values)
    path.write_bytes(as_bytes(stored, {"values": text, "sha256": _checksum(stored, text)}))


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads the tensors, on the CPU, and `values` of `write_checkpoint`; `InputError` when the file is damaged."""
    try:
        with naming(path):
            tensors, entries = from_bytes(path.read_bytes())
        text, checksum = entries["values"], entries["sha256"]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, str(error) or type(error).__name__) from None
    if _checksum(tensors, text) != checksum:
        raise _damaged(path, "its checksum does not match")
    return tensors, json.loads(text)


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path} is damaged: {why}.", "Train again from the beginning.")


def _checksum(tensors: Mapping[str, Tensor], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
