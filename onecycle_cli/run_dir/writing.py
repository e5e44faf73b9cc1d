"""File writing: rows in blocks, all other files completely or not at all, numbers with the digits they hold."""

import errno
import fcntl
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

from onecycle_cli.errors import InputError, naming, to_utf8


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file by calling `write` with a temporary path, and renames it to `path` when it is complete on disk.

    If anything fails, `path` keeps its old content. The temporary file, `.NAME` beside it, is ours in the folder of a
    run: what a kill leaves of it is written over. Elsewhere use `write_new`.
    """
    _write(path, path.with_name(f".{path.name}"), write)


def write_new(path: Path, write: Callable[[Path], object]) -> None:
    """Writes a file that a person named as `write_whole` does; no file beside it is touched, hidden ones included.

    If it cannot be made safe from a power loss, a file that was not there before is removed: the same command again
    would refuse to write over it.
    """
    with naming(path):
        was_there = path.exists()
    beside = path.with_name(f".{uuid4().hex[:12]}-{path.name}")  # the ending may choose the format
    _write(path, beside, write, remove=not was_there)


def _write(path: Path, beside: Path, write: Callable[[Path], object], *, remove: bool = False) -> None:
    with naming(path):
        try:
            write(beside)
            to_disk(beside)
            beside.replace(path)
        except Exception as error:
            with suppress(OSError):
                beside.unlink()  # on a full disk, a partial file would take the space of others
            if isinstance(error, OSError) and error.filename == str(beside):
                error.filename = str(path)  # the file that the person knows
            raise
        try:
            to_disk(path.parent)  # the rename is on disk only once the folder is
        except OSError:
            if remove:
                with suppress(OSError):
                    path.unlink()
            raise


def must_be_new(path: Path) -> None:
    """Checks that a file can be created at `path`. `InputError` if the file exists, or if its folder is missing."""
    if path.exists():
        raise InputError(f"{path} exists already.", "Name a new file, or remove it first.")
    if not path.parent.is_dir():
        raise InputError(f"There is no folder {path.parent}.", "Create it first.")


def to_disk(path: Path) -> None:
    """Returns after the content of a file, or the names in a folder, are safe from a power loss.

    Some file systems, such as CIFS, cannot flush a folder; they keep names on the server. An `OSError` names the path.
    """
    with naming(path):
        descriptor = os.open(path, os.O_RDONLY)
        try:
            _flush(descriptor)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP) or not path.is_dir():
                raise
        finally:
            os.close(descriptor)


def _flush(descriptor: int) -> None:
    """Returns after what was written is on the disk. macOS's fsync leaves it in the memory of the drive itself."""
    if (wholly := getattr(fcntl, "F_FULLFSYNC", None)) is not None:
        try:
            fcntl.fcntl(descriptor, wholly)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTTY, errno.ENOTSUP, errno.EOPNOTSUPP):
                raise
        else:
            return
    os.fsync(descriptor)


@contextmanager
def locked(path: Path, seconds: float = 0) -> Iterator[None]:
    """Holds the lock in the file `path` for the block. `Timeout` of filelock if another has it for so many seconds.

    `OSError` of the lock names the file.
    """
    from filelock import FileLock

    lock = FileLock(path)
    with naming(path):
        lock.acquire(timeout=seconds)
    try:
        yield
    finally:
        with naming(path):
            lock.release()


def make_folder(path: Path) -> None:
    """Makes a folder and those above it that are missing; each name is safe from a power loss. It may exist already."""
    if not path.is_dir():
        make_folder(path.parent)
        path.mkdir(exist_ok=True)
        to_disk(path.parent)


def move(path: Path, place: Path) -> None:
    """Renames a file or folder on the same file system; the new name is safe from a power loss.

    If it cannot be made safe, the old name is back: a command that fails has moved nothing.
    """
    path.rename(place)
    try:
        for folder in {path.parent, place.parent}:
            to_disk(folder)
    except OSError:
        with suppress(OSError):
            place.rename(path)
        raise


class Table:
    """A CSV file that grows; a context manager that closes it. The header is written once, when the file is created.

    With `keep`, an existing file is continued after its first `keep` rows; later rows are removed.
    """

    def __init__(self, path: Path, columns: Sequence[str], keep: int | None = None) -> None:
        self.columns, self._path = columns, path
        with naming(path):
            if keep is not None and path.exists():
                # Without a row to keep, a power cut may have left a part of the header.
                with path.open("rb") as file:
                    kept = b"".join(islice(file, 1 + keep)) if keep else b""
                write_whole(path, lambda beside: beside.write_bytes(kept))
            self._file = path.open("x" if keep is None else "a", encoding="utf-8", newline="")
            if self._file.tell() == 0:
                self._file.write(_line(columns))
                self._file.flush()

    def append(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Appends rows, each with a value or None for every column, and flush them to the operating system."""
        with naming(self._path):
            self._file.writelines(_line([row[column] for column in self.columns]) for row in rows)
            self._file.flush()

    def to_disk(self) -> None:
        """Returns after all rows so far are safe from a power loss."""
        with naming(self._path):
            _flush(self._file.fileno())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        """Closes the file, with all rows safe from a power loss unless the block ends with an error."""
        with naming(self._path), self._file:
            if not any(error):
                self.to_disk()


def json_ready(value: Any) -> Any:
    """Converts to JSON types: dataclasses become objects, numbers that are not finite become null, text valid UTF-8."""
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
    """Formats a whole table as CSV text, as in a run's folder; characters that UTF-8 cannot hold are escaped."""
    return _line(columns) + csv_rows(rows)


def csv_rows(rows: Iterable[Sequence[Any]]) -> str:
    """Formats further rows of a table of `to_csv`."""
    return "".join(map(_line, rows))


def _line(cells: Sequence[Any]) -> str:
    return ",".join(map(_cell, cells)) + "\n"


def _cell(value: Any) -> str:
    """Formats one CSV cell: None as an empty cell, floats with nine significant digits, which distinguish all float32.

    Python's csv module writes a carriage return without quotes, and then reads it as the end of the row.
    """
    if isinstance(value, float):
        return f"{value:.9g}"
    text = "" if value is None else to_utf8(str(value))
    return '"' + text.replace('"', '""') + '"' if any(mark in text for mark in ',"\r\n') else text
