"""How a run's tables and JSON are written: rows in blocks, whole objects, numbers to the digits they hold."""

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from io import StringIO
from pathlib import Path
from typing import Any


class Table:
    """A CSV file that grows. The header is written once, when the table is made."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self.columns = columns
        self._file = path.open("x", encoding="utf-8", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(columns)
        self._file.flush()

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends rows, each with a value (or None) for every column, and hands them to the system."""
        self._writer.writerows([_cell(row[column]) for column in self.columns] for row in rows)
        self._file.flush()

    def __enter__(self) -> "Table":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def json_ready(value: Any) -> Any:
    """`value` as JSON has it: dataclasses become objects, numbers that are not finite become null."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {str(key): json_ready(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(inner) for inner in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A whole table as text, formatted as in a run's folder."""
    text = StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(value) for value in row] for row in rows)
    return text.getvalue()


def _cell(value: Any) -> Any:
    """Nine significant digits tell every float32 from its neighbours; None is an empty cell."""
    return f"{value:.9g}" if isinstance(value, float) else value
