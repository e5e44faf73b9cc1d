"""The classes of a table of images, from the labels of its rows."""

import math
from collections.abc import Sequence


def numbered_classes(labels: Sequence[str]) -> tuple[tuple[str, ...], list[int]]:
    """Returns the class names in order, and the number of each label's class.

    Labels that are all finite numbers are sorted as numbers, and "01" and "1.0" are the class "1". Any other labels are
    sorted as text, as the folders of an image folder are.
    """
    values = _as_numbers(labels)
    if values is None:
        names = tuple(sorted(set(labels)))
        number_of = {name: number for number, name in enumerate(names)}
        return names, [number_of[label] for label in labels]
    ordered = sorted(set(values))
    rank = {value: number for number, value in enumerate(ordered)}
    return tuple(map(_written, ordered)), [rank[value] for value in values]


def _as_numbers(labels: Sequence[str]) -> list[int | float] | None:
    try:
        values = [_number(label) for label in labels]
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None


def _number(label: str) -> int | float:
    try:
        return int(label)  # a float holds 16 digits only, and a label may be an identifier
    except ValueError:
        return float(label)


def _written(value: int | float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)
