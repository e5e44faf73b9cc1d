"""The cells of a grid, and what they are called."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from onecycle_cli.recipe import as_written

LONGEST_NAME = 100
"""Characters of a folder's name; file systems allow 255 bytes, and paths want room too."""


def grid(choices: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Every combination of the values of some fields, by dotted name; the last field changes fastest."""
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def column_names(fields: Sequence[str]) -> dict[str, str]:
    """What each dotted field is called in a table: its last part, or all of it where two fields end alike."""
    last = [field.rpartition(".")[2] for field in fields]
    return {field: short if last.count(short) == 1 else field for field, short in zip(fields, last, strict=True)}


def folder_name(values: Mapping[str, Any]) -> str:
    """The folder of a cell, named by its values: `weight_decay=1e-3,seed=1`, and nothing that a shell stumbles over."""
    names = column_names(list(values))
    parts = [f"{names[field]}={_plain(as_written(value))}" for field, value in values.items()]
    name = ",".join(parts)
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]  # what is cut off may be all that differs
    return f"{name[: LONGEST_NAME - len(digest) - 1]}-{digest}"


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("_")
