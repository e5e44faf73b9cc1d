"""The cells of a sweep's grid, and the names of their folders and columns."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from onecycle_cli.recipe import as_written

LONGEST_NAME = 100
"""The largest number of characters in a cell's folder name. File systems allow 255 bytes; the path needs room too."""


def grid(choices: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Returns every combination of the values in `choices`, by dotted field name. The last field changes fastest."""
    return [dict(zip(choices, values, strict=True)) for values in product(*choices.values())]


def column_names(fields: Sequence[str]) -> dict[str, str]:
    """Returns the table column of each dotted field: its last part, or the whole name if two fields share it."""
    last = [field.rpartition(".")[2] for field in fields]
    return {field: short if last.count(short) == 1 else field for field, short in zip(fields, last, strict=True)}


def folder_name(values: Mapping[str, Any]) -> str:
    """Returns the folder name of a cell, from its values: `weight_decay=1e-3,seed=1`, with no need to quote it."""
    names = column_names(list(values))
    parts = [f"{names[field]}={_plain(as_written(value))}" for field, value in values.items()]
    name = ",".join(parts)
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]  # two long names may differ only in the part that is cut off
    return f"{name[: LONGEST_NAME - len(digest) - 1]}-{digest}"


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", text).strip("_")
