"""A checkpoint as one file: tensors and a JSON object with a checksum over both. Reading it never runs code."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from torch import Tensor

from onecycle_cli.errors import InputError, naming
from onecycle_cli.models.weights import SHA256, as_bytes, as_stored, checksum, from_bytes


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Writes tensors of any device and the JSON object `values`; floats keep every bit."""
    stored, text = as_stored(tensors), json.dumps(values)
    path.write_bytes(as_bytes(stored, {"values": text, SHA256: checksum(stored, text)}))


def read_checkpoint(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads the tensors, on the CPU, and `values` of `write_checkpoint`; `InputError` when the file is damaged."""
    try:
        with naming(path):
            tensors, entries = from_bytes(path.read_bytes())
        text, sha256 = entries["values"], entries[SHA256]
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise _damaged(path, str(error) or type(error).__name__) from None
    if checksum(tensors, text) != sha256:
        raise _damaged(path, "its checksum does not match")
    return tensors, json.loads(text)


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path} is damaged: {why}.", "Train again from the beginning.")
