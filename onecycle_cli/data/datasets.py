"""Images in a folder that `save_to_disk` of Hugging Face's library datasets wrote; read with pyarrow alone."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

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
from onecycle_cli.errors import InputError, reading_error
from onecycle_cli.progress import Report

SPLITS_FILE = "dataset_dict.json"
"""The file in the folder of a `DatasetDict`: the names of its splits, each of which has a folder."""

STATE_FILE = "state.json"
"""The file in the folder of a `Dataset`: the names of its Arrow files."""


class DatasetsSpec(PixelSpec, Protocol):
    """The settings of this source: the folder, and the names of its columns, None to find them by their usual names."""

    @property
    def path(self) -> str: ...
    @property
    def image_column(self) -> str | None: ...
    @property
    def label_column(self) -> str | None: ...


def read(settings: DatasetsSpec, report: Report) -> Source:
    """Reads the images of a saved `Dataset` or `DatasetDict` as arrays memory-mapped from a cache beside the folder.

    A `Dataset` without splits is for training. `InputError` when a file, a column or an image is wrong; `MachineError`
    when pyarrow is not installed.
    """
    return read_table(_table(settings), cache_beside(Path(settings.path), "datasets"), settings, report)


def signature(settings: DatasetsSpec) -> str:
    """Returns a hash that changes when a file is added, removed, renamed or changed, or another column is named."""
    return table_signature(_table(settings), cache_beside(Path(settings.path), "datasets"))


def known_train_images(settings: DatasetsSpec) -> None:  # noqa: ARG001  part of the interface
    """Returns None: the number of images is not known without reading the files."""
    return


def inventory(settings: DatasetsSpec) -> Inventory:
    """Returns the number of images of each class in each split, and the splits that are not used."""
    return labelled_table(_table(settings)).inventory


def is_saved_by_datasets(folder: Path) -> bool:
    """Returns whether `save_to_disk` wrote a folder."""
    return (folder / SPLITS_FILE).is_file() or (folder / STATE_FILE).is_file()


@dataclass(frozen=True)
class ArrowStream:
    """A file in Arrow's stream format, as a `TableFile`; it is memory-mapped, not loaded."""

    path: Path

    def schema(self) -> Any:
        """Returns the `pyarrow.Schema` of the table."""
        import pyarrow as pa

        with readable(self.path, "an Arrow stream"), pa.memory_map(str(self.path)) as file:
            return pa.ipc.open_stream(file).schema

    def column(self, name: str) -> list[Any]:
        """Returns the values of a column."""
        return [value for array in self._arrays(name) for value in array.to_pylist()]

    def batches(self, name: str, size: int) -> Iterator[Any]:
        """Yields the `pyarrow.Array`s of a column, in order, with at most `size` values each."""
        for array in self._arrays(name):
            for start in range(0, len(array), size):
                yield array.slice(start, size)

    def _arrays(self, name: str) -> Iterator[Any]:
        import pyarrow as pa

        with readable(self.path, "an Arrow stream"), pa.memory_map(str(self.path)) as file:
            for batch in pa.ipc.open_stream(file):
                yield batch.column(name)


def _table(settings: DatasetsSpec) -> Table:
    import_pyarrow("datasets")
    path = Path(settings.path)
    if not path.is_dir():
        raise InputError(f"There is no folder {path}.", "Set data.path to the folder that save_to_disk wrote.")
    if not is_saved_by_datasets(path):
        raise InputError(
            f"{path} has neither {SPLITS_FILE} nor {STATE_FILE}, so save_to_disk did not write it.",
            "For Parquet files, set data.source to parquet; for image files in folders, to image_folder.",
        )
    skipped: list[Skipped] = []
    files: list[tuple[TableFile, str | None]] = []
    if (path / SPLITS_FILE).is_file():
        for name in _entry(path / SPLITS_FILE, "splits"):
            if name.lower() in SPLIT_NAMES:
                files += [(file, SPLIT_NAMES[name.lower()]) for file in _arrow_files(path / name)]
            else:
                skipped.append(Skipped("", "", path / name, "is not a split of a known name, and is not used"))
    else:
        files += [(file, "train") for file in _arrow_files(path)]
    if not files:
        raise InputError(f"{path} has no split of a known name.", f"The splits are {', '.join(SPLIT_NAMES)}.")
    return Table(settings.path, files, settings.image_column, settings.label_column, None, skipped)


def _arrow_files(folder: Path) -> list[ArrowStream]:
    return [ArrowStream(folder / entry["filename"]) for entry in _entry(folder / STATE_FILE, "_data_files")]


def _entry(file: Path, name: str) -> list[Any]:
    """Returns a list in a JSON file of save_to_disk."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))[name]
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"{file} is not as save_to_disk writes it: {error!r}."
        raise reading_error(error, what, "Save the data set again.") from None
    if not isinstance(found, list):
        raise InputError(f"{file} is not as save_to_disk writes it: {name} is no list.", "Save the data set again.")
    return found
