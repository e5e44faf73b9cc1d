"""Images listed in a CSV file: a path, a label and, if there is such a column, a split in each row."""

import csv
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from onecycle_cli.data.class_names import numbered_classes
from onecycle_cli.data.columns import LABEL_COLUMNS, SPLIT_COLUMNS, chosen_column
from onecycle_cli.data.folder_listing import Listing
from onecycle_cli.data.image_folder import files_signature, read_files
from onecycle_cli.data.images import PixelSpec, Source
from onecycle_cli.data.labelled_images import SPLIT_NAMES, SPLITS, Inventory, cache_beside, must_be_trained
from onecycle_cli.errors import InputError, naming
from onecycle_cli.progress import Report

PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img")
"""The names of the column of the paths, in order of priority."""

DELIMITERS = ",;\t"
"""The characters between two cells; the one that is most often in the first line is used."""

MOST_NAMED = 20
"""The largest number of missing files that one message names."""


class CsvSpec(PixelSpec, Protocol):
    """The settings of this source: the file, and the names of its columns, None to find them by their usual names."""

    @property
    def path(self) -> str: ...
    @property
    def path_column(self) -> str | None: ...
    @property
    def label_column(self) -> str | None: ...
    @property
    def split_column(self) -> str | None: ...


@dataclass(frozen=True)
class Row:
    """A row of the table: the line it ends on, counted from 1, the path of the image, its label and its split."""

    line: int
    path: Path
    label: str
    split: str


def read(settings: CsvSpec, report: Report) -> Source:
    """Reads the images of a CSV file as arrays memory-mapped from a cache beside it.

    `InputError` when the table is wrong, with the lines, or when images are missing or cannot be read.
    """
    path = Path(settings.path)
    return read_files(list_table(settings), path.parent, cache_beside(path, "csv"), settings, report)


def signature(settings: CsvSpec) -> str:
    """Returns a hash that changes when an image is added, removed, renamed, labelled otherwise or edited."""
    path = Path(settings.path)
    return files_signature(list_table(settings), path.parent, cache_beside(path, "csv"))


def known_train_images(settings: CsvSpec) -> None:  # noqa: ARG001  part of the interface
    """Returns None: the number of images is not known without reading the table."""
    return


def inventory(settings: CsvSpec) -> Inventory:
    """Returns the number of images of each class in each split."""
    return list_table(settings).labelled().inventory


def list_table(settings: CsvSpec) -> Listing:
    """Lists the images of a CSV file: in each split sorted by class, and in each class by path, as a folder's.

    Paths are relative to the folder of the file. Labels that are all numbers are sorted as numbers, else as text.
    `InputError` when a column or a file is missing, a cell is empty, a split is unknown or a path is there twice.
    """
    path = Path(settings.path)
    rows = list(_rows(path, settings))
    if not rows:
        raise InputError(f"{path} has no rows below its header.", "Add a row for each image.")
    _must_be_unique(path, rows)
    _must_exist(path, rows)
    classes, numbers = numbered_classes([row.label for row in rows])
    splits: dict[str, list[tuple[Path, int]]] = {
        split: [] for split in SPLITS if any(row.split == split for row in rows)
    }
    for row, number in zip(rows, numbers, strict=True):
        splits[row.split].append((row.path, number))
    must_be_trained({split: [number for _, number in files] for split, files in splits.items()}, classes, str(path))
    return Listing(classes, {split: sorted(files, key=lambda file: file[::-1]) for split, files in splits.items()})


def _rows(path: Path, settings: CsvSpec) -> Iterator[Row]:
    """Yields the rows of a CSV file; `InputError` with the line when the file or a row is wrong."""
    text = _text(path)
    first, *_ = text.splitlines() or [""]
    # Not the lines of splitlines(): it also breaks a line at characters that a file name may have, such as U+2028.
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(DELIMITERS, key=first.count), strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if not header:
            raise InputError(f"{path}, line 1: is empty.", "Write the names of the columns there, such as path,label.")
        where = f"{path}, line 1"
        image = chosen_column(settings.path_column, "path_column", PATH_COLUMNS, header, where)
        label = chosen_column(settings.label_column, "label_column", LABEL_COLUMNS, header, where)
        split = chosen_column(settings.split_column, "split_column", SPLIT_COLUMNS, header, where, needed=False)
        columns = {name: header.index(name) for name in (image, label, split) if name is not None}
        for cells in reader:
            if any(cell.strip() for cell in cells):
                yield _row(path, reader.line_num, cells, columns, image, label, split)
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: not readable as CSV: {error}.", "Fix that line.") from None


def _row(
    path: Path, line: int, cells: list[str], columns: dict[str, int], image: str, label: str, split: str | None
) -> Row:
    if len(cells) <= max(columns.values()):
        raise InputError(
            f"{path}, line {line}: has {len(cells)} cells, but the columns {', '.join(columns)} need "
            f"{max(columns.values()) + 1}.",
            "Fill in the cells; a cell with a comma needs quotes.",
        )
    values = {name: cells[place].strip() for name, place in columns.items()}
    for name in (image, label):
        if not values[name]:
            raise InputError(f"{path}, line {line}: the cell in the column '{name}' is empty.", "Fill it in.")
    named = "train" if split is None else values[split]
    if named.lower() not in SPLIT_NAMES:
        known = ", ".join(SPLIT_NAMES)
        raise InputError(f"{path}, line {line}: the split '{named}' is unknown.", f"The splits are {known}.")
    return Row(line, Path(os.path.normpath(path.parent / values[image])), values[label], SPLIT_NAMES[named.lower()])


def _text(path: Path) -> str:
    """Reads a file in UTF-8, also with a byte order mark."""
    if path.is_dir():
        raise InputError(
            f"{path} is a folder, not a CSV file.", "Set data.path to the file in it, or data.source to image_folder."
        )
    if path.exists() and not path.is_file():  # reading from a pipe may wait forever
        raise InputError(f"{path} is not a regular file: it is a pipe, a socket or a device.", "Name the CSV file.")
    try:
        with naming(path):
            content = path.read_bytes()
        return content.decode("utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"There is no CSV file at {path}.", "Set data.path to the file.") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise InputError(f"{path}, line {line}: not text in UTF-8.", "Save the file as UTF-8.") from None


def _must_be_unique(path: Path, rows: list[Row]) -> None:
    seen: dict[Path, int] = {}
    twice = []
    for row in rows:
        first = seen.setdefault(row.path, row.line)
        if first != row.line:
            twice.append(f"  lines {first} and {row.line}: {row.path}")
    if twice:
        named = _named(twice, 5)
        raise InputError(f"{path} has images in two rows:\n{named}", "Keep one of the rows.")


def _must_exist(path: Path, rows: list[Row]) -> None:
    missing = [f"  line {row.line}: {row.path}" for row in rows if not row.path.is_file()]
    if missing:
        count = "one file is missing" if len(missing) == 1 else f"{len(missing):,} files are missing"
        raise InputError(
            f"{path}: {count}:\n{_named(missing, MOST_NAMED)}",
            "Paths are relative to the folder of the CSV file. Restore the files, or remove their rows.",
        )


def _named(lines: list[str], most: int) -> str:
    more = [f"  and {len(lines) - most:,} more"] if len(lines) > most else []
    return "\n".join([*lines[:most], *more])
