"""The columns of a table of images: chosen by the recipe, or found by their usual names."""

import difflib
from collections.abc import Sequence
from typing import Literal, overload

from onecycle_cli.errors import InputError

LABEL_COLUMNS = ("label", "labels", "class", "class_name", "target", "category", "fine_label")
"""The names of the column of the labels, in order of priority."""

SPLIT_COLUMNS = ("split", "subset", "set")
"""The names of the column of the splits, in order of priority."""


@overload
def chosen_column(chosen: str | None, field: str, usual: Sequence[str], header: Sequence[str], where: str) -> str: ...
@overload
def chosen_column(
    chosen: str | None, field: str, usual: Sequence[str], header: Sequence[str], where: str, *, needed: Literal[False]
) -> str | None: ...
def chosen_column(
    chosen: str | None, field: str, usual: Sequence[str], header: Sequence[str], where: str, *, needed: bool = True
) -> str | None:
    """Returns the name of a column in `header`: `chosen`, or if None, the first of `usual`, in upper or lower case.

    `field` is the recipe's field of that column. `InputError` when the column is missing, with the nearest name; None
    when it is not `needed` and not chosen.
    """
    columns = ", ".join(header)
    if chosen is not None:
        if chosen in header:
            return chosen
        near = difflib.get_close_matches(chosen, header, n=1)
        hint = f"Did you mean '{near[0]}'? " if near else ""
        raise InputError(f"{where}: there is no column '{chosen}' (data.{field}).", f"{hint}The columns are {columns}.")
    lower = {name.lower(): name for name in reversed(header)}
    found = next((lower[name] for name in usual if name in lower), None)
    if found is None and needed:
        raise InputError(
            f"{where}: no column is named {', '.join(usual[:-1])} or {usual[-1]}.",
            f"Set data.{field} to one of the columns {columns}.",
        )
    return found
