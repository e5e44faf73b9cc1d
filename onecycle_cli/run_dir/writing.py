"""How a run's files are written: rows in blocks, all else whole or not at all, numbers to the digits they hold."""

import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from onecycle_cli.errors import to_utf8


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Lets `write` make a file beside `path`, and puts it there when it is whole and on the disk.

    Whatever happens on the way, `path` holds what it held before, or all of the new.
    """
    beside = path.with_name(f".{path.name}")
    with _named(path):
        try:
            write(beside)
            _to_disk(beside)
        except Exception:
            with suppress(OSError):
                beside.unlink()  # on a full disk the half of a file takes the room of others
            raise
        beside.replace(path)
        _to_disk(path.parent)  # the name is kept in the folder


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Has an error say which file it is of, which that of a full disk does not."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise


def _to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Table:
    """A CSV file that grows. The header is written once, when the table is made.

    With `keep`, one that is there already goes on after so many of its rows; those past them are cut.
    """

    def __init__(self, path: Path, columns: Sequence[str], keep: int | None = None) -> None:
        self.columns, self._path = columns, path
        if keep is not None and path.exists():
            with path.open("rb") as file:
                kept = b"".join(islice(file, 1 + keep))
            write_whole(path, lambda beside: beside.write_bytes(kept))
        self._file = path.open("x" if keep is None else "a", encoding="utf-8", newline="")
        if self._file.tell() == 0:
            self._file.write(_line(columns))
            self._file.flush()

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends rows, each with a value (or None) for every column, and hands them to the system."""
        with _named(self._path):
            self._file.writelines(_line([row[column] for column in self.columns]) for row in rows)
            self._file.flush()

    def to_disk(self) -> None:
        """Waits until all rows so far would outlast a loss of power."""
        with _named(self._path):
            os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def json_ready(value: Any) -> Any:
    """`value` as JSON has it: dataclasses become objects, numbers that are not finite become null, text UTF-8."""
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        return {to_utf8(str(key)): json_ready(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(inner) for inner in value]
    if isinstance(value, str | Path):
        return to_utf8(str(value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A whole table as text, formatted as in a run's folder: text that UTF-8 can hold, whatever names are in it."""
    return "".join(map(_line, (columns, *rows)))


def _line(cells: Sequence[Any]) -> str:
    return ",".join(map(_cell, cells)) + "\n"


def _cell(value: Any) -> str:
    """Nine significant digits tell every float32 from its neighbours; None is an empty cell.

    Python's csv module leaves a carriage return without quotes, and then reads it as the end of the row.
    """
    if isinstance(value, float):
        return f"{value:.9g}"
    text = "" if value is None else to_utf8(str(value))
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text
