"""Images in the columns of Arrow tables: of Parquet files, or of a folder that Hugging Face's datasets saved.

pyarrow is an optional library, which is imported only here and where a file is opened.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onecycle_cli.data.cache import locked
from onecycle_cli.data.class_names import numbered_classes
from onecycle_cli.data.columns import LABEL_COLUMNS, SPLIT_COLUMNS, chosen_column
from onecycle_cli.data.decoded_cache import Rows
from onecycle_cli.data.decoding import Encoded
from onecycle_cli.data.file_contents import content_digests
from onecycle_cli.data.images import PixelSpec, Source
from onecycle_cli.data.labelled_images import (
    SPLIT_NAMES,
    LabelledImages,
    Skipped,
    by_class,
    decoded_source,
    must_be_trained,
)
from onecycle_cli.errors import InputError, missing_packages, reading_error
from onecycle_cli.progress import Report, silent

IMAGE_COLUMNS = ("image", "img", "picture", "photo", "pixels")
"""The names of the column of the images, in order of priority."""


class TableFile(Protocol):
    """A file with a table. Its functions raise `InputError` when it cannot be read."""

    @property
    def path(self) -> Path: ...

    def schema(self) -> Any:
        """Returns the `pyarrow.Schema` of the table."""

    def column(self, name: str) -> list[Any]:
        """Returns the values of a column."""

    def batches(self, name: str, size: int) -> Iterator[Any]:
        """Yields the `pyarrow.Array`s of a column, in order, with at most `size` values each."""


@dataclass(frozen=True)
class Table:
    """The files of a table of images, each with its split; None if a column has the splits, or all are for training.

    The columns are those that the recipe names, None to find them by their usual names. `where` names the table in
    messages.
    """

    where: str
    files: list[tuple[TableFile, str | None]]
    image_column: str | None
    label_column: str | None
    split_column: str | None
    skipped: list[Skipped]


@dataclass(frozen=True)
class TableImages:
    """The images in a column of some files, as `EncodedImages`; `rows` has the row in the cache of each image."""

    files: Sequence[TableFile]
    column: str
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def chunks(self, size: int, wanted: Collection[int] | None) -> Iterator[Rows]:
        """Yields the images with their rows in the order of the files, at most `size` at once."""
        first = 0
        for file in self.files:
            for images in file.batches(self.column, size):
                rows = self.rows[first : first + len(images)].tolist()
                first += len(images)
                if wanted is None or any(row in wanted for row in rows):
                    encoded = zip(rows, _encoded(images, file.path.parent), strict=True)
                    yield [(row, image) for row, image in encoded if wanted is None or row in wanted]

    def name(self, row: int) -> str:
        """Returns the file of an image and its row there, counted from 0."""
        (place,) = np.flatnonzero(self.rows == row).tolist()
        for file in self.files:
            count = sum(len(images) for images in file.batches(self.column, 2**16))
            if place < count:
                return f"{file.path}, row {place}"
            place -= count
        raise IndexError(row)


def import_pyarrow(source: str) -> None:
    """Raises `MachineError` when pyarrow is not installed."""
    try:
        import pyarrow  # noqa: F401
    except ImportError:
        raise missing_packages(f"data.source {source}", "pyarrow", "parquet") from None


@contextmanager
def readable(path: Path, kind: str) -> Iterator[None]:
    """Turns errors of pyarrow on reading `path` into `InputError`, those of the disk into `MachineError`."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, EOFError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise reading_error(error, f"{path} cannot be read as {kind}: {reason}.", "Restore or remove it.") from None


def read_table(table: Table, cache: Path, settings: PixelSpec, report: Report) -> Source:
    """Decodes the images of a table, or maps them from the folder `cache`.

    `InputError` when a column is missing or has the wrong type, or when a label or an image cannot be read.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / ".lock") as lock:
        signature = _signature(table, cache, report)
        return decoded_source(labelled_table(table), cache, signature, settings, lock, report)


def table_signature(table: Table, cache: Path) -> str:
    """Returns a hash of the contents, names and splits of a table's files and of the columns that are used."""
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / ".lock"):
        return _signature(table, cache, silent)


def _signature(table: Table, cache: Path, report: Report) -> str:
    paths = [file.path for file, _ in table.files]
    root = os.path.commonpath([path.parent for path in paths])
    contents = content_digests(paths, cache / "contents.json", report)
    files = [
        (os.path.relpath(file.path, root), split, content)
        for (file, split), content in zip(table.files, contents, strict=True)
    ]
    used = [files, table.image_column, table.label_column, table.split_column]
    return hashlib.sha256(json.dumps(used).encode("ascii")).hexdigest()


def labelled_table(table: Table) -> LabelledImages:
    """Reads the labels and splits of a table, but not its images.

    Labels that Hugging Face's class names belong to become these names; other labels are sorted as in `csv_table.py`.
    Classes without an image are left out.
    """
    first, _ = table.files[0]
    schema = first.schema()
    where = str(first.path)
    image = _image_column(table, schema, where)
    label = chosen_column(table.label_column, "label_column", LABEL_COLUMNS, schema.names, where)
    split = None
    if all(of_file is None for _, of_file in table.files):
        split = chosen_column(table.split_column, "split_column", SPLIT_COLUMNS, schema.names, where, needed=False)
    found: list[Any] = []
    splits: list[str] = []
    for file, of_file in table.files:
        _must_have(file, [name for name in (image, label, split) if name is not None])
        labels = _column(file, label)
        found += labels
        splits += [of_file or "train"] * len(labels) if split is None else _splits(file, split)
    if not found:
        raise InputError(f"{table.where} has no rows.", "Add a row for each image.")
    classes, numbers = _classes(found, _class_names(schema, label), table, label)
    sorted_labels, rows = by_class(splits, numbers)
    must_be_trained(sorted_labels, classes, table.where)
    images = TableImages([file for file, _ in table.files], image, rows)
    return LabelledImages(classes, sorted_labels, images, table.skipped)


def _image_column(table: Table, schema: Any, where: str) -> str:
    holding = [field.name for field in schema if _holds_images(field.type)]
    usual = {name.lower() for name in schema.names} & {*IMAGE_COLUMNS}
    if table.image_column is None and not usual and len(holding) == 1:
        return str(holding[0])
    name = chosen_column(table.image_column, "image_column", IMAGE_COLUMNS, schema.names, where)
    if name not in holding:
        raise InputError(
            f"{where}: the column '{name}' holds {schema.field(name).type}, not images.",
            "Images are the bytes of files, or Hugging Face's struct of bytes and path: set data.image_column.",
        )
    return name


def _holds_images(kind: Any) -> bool:
    import pyarrow as pa

    if pa.types.is_struct(kind):
        return any(kind.field(n).name == "bytes" and _holds_images(kind.field(n).type) for n in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _must_have(file: TableFile, columns: list[str]) -> None:
    names = file.schema().names
    for name in columns:
        if name not in names:
            raise InputError(
                f"{file.path} has no column '{name}', which the first file has.",
                f"Its columns are {', '.join(names)}. Leave the file out, or give it this column.",
            )


def _column(file: TableFile, name: str) -> list[Any]:
    values = file.column(name)
    if None in values:
        raise InputError(f"{file.path}, row {values.index(None)}: the column '{name}' is empty.", "Fill it in.")
    return values


def _splits(file: TableFile, column: str) -> list[str]:
    values = [str(value).lower() for value in _column(file, column)]
    for row, value in enumerate(values):
        if value not in SPLIT_NAMES:
            raise InputError(
                f"{file.path}, row {row}: the split '{value}' is unknown.", f"The splits are {', '.join(SPLIT_NAMES)}."
            )
    return [SPLIT_NAMES[value] for value in values]


def _class_names(schema: Any, label: str) -> list[str] | None:
    """Returns the class names that Hugging Face's datasets keep in the metadata of a table; None if there are none."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        names = features[label]["names"]
    except (KeyError, TypeError, ValueError):
        return None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _classes(
    labels: list[Any], names: list[str] | None, table: Table, column: str
) -> tuple[tuple[str, ...], Sequence[int]]:
    kinds = {type(label) for label in labels}
    if not kinds <= {int, str, bool, float}:
        shown = ", ".join(sorted(kind.__name__ for kind in kinds))
        raise InputError(
            f"{table.where}: the labels in the column '{column}' are neither numbers nor text, but {shown}.",
            "Set data.label_column.",
        )
    if names is None or kinds != {int}:
        return numbered_classes([str(label) for label in labels])
    wrong = next((label for label in labels if not 0 <= label < len(names)), None)
    if wrong is not None:
        raise InputError(
            f"{table.where}: the label {wrong} in the column '{column}' is none of the {len(names)} classes.",
            "Hugging Face's datasets write -1 where the label is unknown: leave that split out.",
        )
    used = sorted(set(labels))
    number_of = {label: number for number, label in enumerate(used)}
    return tuple(names[label] for label in used), [number_of[label] for label in labels]


def _encoded(images: Any, folder: Path) -> list[Encoded]:
    """Returns the files' bytes in an array; where there are none, the path that Hugging Face's struct has instead."""
    import pyarrow as pa
    from pyarrow import compute

    if not pa.types.is_struct(images.type):
        return [value or b"" for value in images.to_pylist()]
    contents = compute.struct_field(images, "bytes").to_pylist()
    has_paths = any(images.type.field(number).name == "path" for number in range(images.type.num_fields))
    paths = compute.struct_field(images, "path").to_pylist() if has_paths else [None] * len(contents)
    return [
        folder / path if content is None and path else content or b""
        for content, path in zip(contents, paths, strict=True)
    ]
