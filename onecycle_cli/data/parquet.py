"""Images in Parquet files: a column of images and a column of labels."""

import glob
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Protocol

from onecycle_cli.data.datasets import is_saved_by_datasets
from onecycle_cli.data.folder_listing import SYSTEM_FOLDERS
from onecycle_cli.data.images import PixelSpec, Source
from onecycle_cli.data.labelled_images import SPLIT_NAMES, Inventory, Skipped, cache_beside
from onecycle_cli.data.table_images import (
    Table,
    TableFile,
    import_pyarrow,
    labelled_table,
    read_table,
    readable,
    table_signature,
)
from onecycle_cli.errors import InputError, naming
from onecycle_cli.progress import Report


class ParquetSpec(PixelSpec, Protocol):
    """The settings of this source: a file, folder or pattern, and the names of its columns, None to find them."""

    @property
    def path(self) -> str: ...
    @property
    def image_column(self) -> str | None: ...
    @property
    def label_column(self) -> str | None: ...
    @property
    def split_column(self) -> str | None: ...


def read(settings: ParquetSpec, report: Report) -> Source:
    """Reads the images of Parquet files as arrays memory-mapped from a cache.

    The cache is beside the file or folder, and in the user's cache for a pattern. `InputError` when a file, a column or
    an image is wrong; `MachineError` when pyarrow is not installed.
    """
    return read_table(_table(settings), cache_beside(Path(settings.path), "parquet"), settings, report)


def signature(settings: ParquetSpec) -> str:
    """Returns a hash that changes when a file is added, removed, renamed or changed, or another column is named."""
    return table_signature(_table(settings), cache_beside(Path(settings.path), "parquet"))


def known_train_images(settings: ParquetSpec) -> None:  # noqa: ARG001  part of the interface
    """Returns None: the number of images is not known without reading the files."""
    return


def inventory(settings: ParquetSpec) -> Inventory:
    """Returns the number of images of each class in each split, and the files that are not used."""
    return labelled_table(_table(settings)).inventory


@dataclass(frozen=True)
class ParquetFile:
    """A Parquet file as a `TableFile`."""

    path: Path

    def schema(self) -> Any:
        """Returns the `pyarrow.Schema` of the table."""
        from pyarrow import parquet

        with readable(self.path, "Parquet"):
            return parquet.read_schema(self.path)

    def column(self, name: str) -> list[Any]:
        """Returns the values of a column."""
        from pyarrow import parquet

        with readable(self.path, "Parquet"), parquet.ParquetFile(self.path) as file:
            values: list[Any] = file.read(columns=[name]).column(name).to_pylist()
            return values

    def batches(self, name: str, size: int) -> Iterator[Any]:
        """Yields the `pyarrow.Array`s of a column, in order, with at most `size` values each."""
        from pyarrow import parquet

        with readable(self.path, "Parquet"), parquet.ParquetFile(self.path) as file:
            for batch in file.iter_batches(size, columns=[name]):
                yield batch.column(0)


def _table(settings: ParquetSpec) -> Table:
    import_pyarrow("parquet")
    path = Path(settings.path)
    found = _found(path)
    splits: list[str | None] = [None if settings.split_column else _split_of(file, path) for file in found]
    skipped: list[Skipped] = []
    files: list[tuple[TableFile, str | None]] = []
    for file, split in zip(found, splits, strict=True):
        if split is None and any(splits):
            skipped.append(Skipped("", "", file, "its name tells no split, as those of other files do"))
        else:
            files.append((ParquetFile(file), split))
    return Table(settings.path, files, settings.image_column, settings.label_column, settings.split_column, skipped)


def _found(path: Path) -> list[Path]:
    """Returns the Parquet files that a path means, sorted; `InputError` if there is none."""
    if path.is_file():
        return [path]
    if path.is_dir():
        if is_saved_by_datasets(path):
            raise InputError(f"{path} was written by save_to_disk, not as Parquet.", "Set data.source to datasets.")
        with naming(path):
            files = sorted(file for file in _below(path) if file.suffix == ".parquet" and file.is_file())
        fix = "Set data.path to a Parquet file, to a folder with some, or to a pattern such as data/*.parquet."
    else:
        with naming(path):
            files = sorted(file for file in _matches(path) if file.is_file())
        fix = "Set data.path to a Parquet file, to a folder with some, or to a pattern that fits some."
    if not files:
        raise InputError(f"There are no Parquet files at {path}.", fix)
    return files


def _below(folder: Path) -> Iterator[Path]:
    """Yields the files below a folder, without hidden ones; `OSError` for a folder that cannot be listed."""
    for inner, folders, names in os.walk(folder, onerror=_fail):
        folders[:] = filter(_is_ours, folders)
        yield from (Path(inner, name) for name in names if _is_ours(name))


def _matches(pattern: Path) -> list[Path]:
    """Returns what a pattern fits, as `glob` does; `OSError` for a folder on the way that cannot be looked into.

    `glob` leaves such a folder out, and a training would have fewer images than the person has.
    """
    found = [Path(pattern.anchor)]
    for part in (pattern / "*" if pattern.name == "**" else pattern).relative_to(pattern.anchor).parts:
        if part == "**":
            found = [inner for folder in found if folder.is_dir() for inner in _folders_below(folder)]
        elif glob.has_magic(part):
            inside = [(folder, name) for folder in found if folder.is_dir() for name in _names(folder)]
            found = [folder / name for folder, name in inside if _fits(name, part)]
        else:
            found = [folder / part for folder in found if (folder / part).exists()]
    return list(dict.fromkeys(found))


def _fits(name: str, part: str) -> bool:
    return fnmatchcase(name, part) and (_is_ours(name) or part[0] == ".")


def _names(folder: Path) -> list[str]:
    with naming(folder), os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _folders_below(folder: Path) -> Iterator[Path]:
    """Yields a folder and those below it, also through links, but not through one to a folder that it is in."""
    for inner, folders, _ in os.walk(folder, onerror=_fail, followlinks=True):
        here = Path(inner)
        real = here.resolve()
        folders[:] = [name for name in folders if _is_ours(name) and not real.is_relative_to((here / name).resolve())]
        yield here


def _is_ours(name: str) -> bool:
    """Whether a name is neither hidden nor that of a folder which the system makes."""
    return name[0] != "." and name not in SYSTEM_FOLDERS


def _fail(error: OSError) -> None:
    raise error


def _split_of(file: Path, path: Path) -> str | None:
    """Returns the split that the name of a file begins with (`train-00000-of-00002.parquet`), or that of its folder."""
    words = [re.split(r"[-_.\s]", file.name.lower())[0]]
    if file != path:
        words.append(file.parent.name.lower())
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)
