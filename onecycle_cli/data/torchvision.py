"""Classification sets of torchvision, downloaded by torchvision to the user's cache."""

import contextlib
import difflib
import http.client
import shutil
import socket
import tarfile
import urllib.error
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from onecycle_cli.data.cache import cache_folder, locked
from onecycle_cli.data.decoded_cache import ImageFiles, Rows
from onecycle_cli.data.images import PixelSpec, Source
from onecycle_cli.data.labelled_images import (
    SPLITS,
    Inventory,
    LabelledImages,
    by_class,
    decoded_source,
    must_be_trained,
)
from onecycle_cli.data.torchvision_sets import SETS, TorchvisionSet
from onecycle_cli.errors import InputError, MachineError
from onecycle_cli.progress import Report

SILENCE = 60.0
"""The time in seconds after which a silent connection is broken; torchvision itself waits without end."""

UNREADABLE = (RuntimeError, ValueError, EOFError, FileNotFoundError, AssertionError, KeyError, IndexError)
"""What torchvision raises for files that are missing or damaged."""

BROKEN_DOWNLOAD = (
    *(RuntimeError, ConnectionError, TimeoutError, EOFError, http.client.HTTPException, urllib.error.URLError),
    *(tarfile.ReadError, zipfile.BadZipFile),
)
"""What torchvision raises when a download fails or delivers other bytes; another OSError comes from the disk."""


class TorchvisionSpec(PixelSpec, Protocol):
    """The settings of this source: the name of the set, and its variant, None for the default."""

    @property
    def dataset(self) -> str: ...
    @property
    def variant(self) -> str | None: ...


@dataclass(frozen=True)
class SetImages:
    """The images of sets that hold arrays, as `EncodedImages`; `rows` has the row in the cache of each image."""

    sets: Sequence[Any]
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    def chunks(self, size: int, wanted: Collection[int] | None) -> Iterator[Rows]:
        """Yields the images with their rows in the order of the sets, at most `size` at once."""
        chunk: Rows = []
        for row, (images, index) in zip(self.rows.tolist(), self._places(), strict=True):
            if wanted is None or row in wanted:
                chunk.append((row, images[index][0]))
            if len(chunk) == size:
                yield chunk
                chunk = []
        yield chunk

    def name(self, row: int) -> str:
        """Returns the set of an image and its index there."""
        (place,) = np.flatnonzero(self.rows == row).tolist()
        images, index = list(self._places())[place]
        return f"{type(images).__name__}, image {index}"

    def _places(self) -> Iterator[tuple[Any, int]]:
        return ((images, index) for images in self.sets for index in range(len(images)))


def read(settings: TorchvisionSpec, report: Report) -> Source:
    """Reads a set of torchvision as arrays memory-mapped from a cache; downloads it if it is missing.

    `InputError` for an unknown variant, `MachineError` when the download fails.
    """
    known, name = _known(settings)
    root = _root(settings)
    root.parent.mkdir(parents=True, exist_ok=True)
    # Forty runs that start at once download and decode once.
    with locked(root.with_name(f".{root.name}.lock")) as lock:
        splits = _opened(settings.dataset, known, settings.variant, root)
        if splits is None:
            _download(settings.dataset, known, settings.variant, root, report)
            splits = _opened(settings.dataset, known, settings.variant, root)
            if splits is None:
                raise MachineError(f"{root} is damaged, though it was just downloaded.", "Is torchvision up to date?")
        cache = root.with_name(f"{name}.onecycle-cache")
        cache.mkdir(exist_ok=True)
        found = _labelled(settings.dataset, known, splits)
        return decoded_source(found, cache, signature(settings), settings, lock, report)


def signature(settings: TorchvisionSpec) -> str:
    """Returns the name of the set and its variant: its images never change."""
    return f"torchvision {_known(settings)[1]}"


def known_train_images(settings: TorchvisionSpec) -> None:  # noqa: ARG001  part of the interface
    """Returns None: the number of images is not known without opening the set."""
    return


def inventory(settings: TorchvisionSpec) -> Inventory:
    """Returns the number of images of each class in each split; `MachineError` when the set is not downloaded."""
    known, _ = _known(settings)
    root = _root(settings)
    splits = _opened(settings.dataset, known, settings.variant, root)
    if splits is None:
        what = "is damaged" if root.exists() else "is missing"
        raise MachineError(f"{root} {what}.", "Download it with `onecycle data get RECIPE`.")
    return _labelled(settings.dataset, known, splits).inventory


def _known(settings: TorchvisionSpec) -> tuple[TorchvisionSet, str]:
    """Returns what is known of a set, and the name of its folder; `InputError` when it has no such variant."""
    known, variant = SETS[settings.dataset], settings.variant
    if variant is None:
        return known, settings.dataset if known.variant is None else f"{settings.dataset}-{known.variants[0]}"
    if variant not in known.variants:
        near = difflib.get_close_matches(variant, known.variants, n=1)
        has = f"The variants are {', '.join(known.variants)}." if known.variants else "Leave data.variant out."
        hint = f"Did you mean '{near[0]}'? " if near else ""
        raise InputError(f"{settings.dataset} of torchvision has no variant '{variant}'.", hint + has)
    return known, f"{settings.dataset}-{variant}"


def _root(settings: TorchvisionSpec) -> Path:
    known, name = _known(settings)
    return cache_folder() / "torchvision" / (name if known.own_archives else settings.dataset)


def _open(dataset: str, known: TorchvisionSet, variant: str | None, root: Path, *, download: bool) -> dict[str, Any]:
    """Returns torchvision's object for each split."""
    from torchvision import datasets

    chosen: dict[str, Any] = {} if known.variant is None else {known.variant: variant or known.variants[0]}
    if known.takes_loader:
        chosen["loader"] = Path  # an image is then its path: the decoding comes later, in parallel
    made = getattr(datasets, dataset)
    return {split: made(root, download=download, **chosen, **arguments) for split, arguments in known.splits.items()}


def _opened(dataset: str, known: TorchvisionSet, variant: str | None, root: Path) -> dict[str, Any] | None:
    """Opens a set that is downloaded; None if it is missing or damaged."""
    if not root.is_dir():
        return None
    try:
        return _open(dataset, known, variant, root, download=False)
    except UNREADABLE:
        return None


def _download(dataset: str, known: TorchvisionSet, variant: str | None, root: Path, report: Report) -> None:
    """Downloads a set to `root`, which is made at the end: a broken download or unpacking leaves nothing behind.

    torchvision takes some sets for complete as soon as their folder exists.
    """
    if root.exists():
        aside = next(name for n in range(1, 1000) if not (name := root.with_name(f"{root.name}.damaged{n}")).exists())
        root.rename(aside)
        report(f"{root} is damaged, and is downloaded again. The damaged folder is now {aside}.")
    beside = root.with_name(f".{root.name}.downloading")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    report(f"torchvision downloads {dataset} to {root}.")
    try:
        with _silence_breaks():
            _open(dataset, known, variant, beside, download=True)
    except BROKEN_DOWNLOAD as error:
        shutil.rmtree(beside, ignore_errors=True)
        raise MachineError(
            f"{dataset} could not be downloaded by torchvision: {str(error).strip() or type(error).__name__}",
            f"Run the same command on a machine with access to the internet, and copy its {root} to here.\n"
            "The recipe `digits` needs no download: onecycle train digits --max-lr auto",
        ) from None
    beside.rename(root)


@contextlib.contextmanager
def _silence_breaks() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(SILENCE)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _labelled(dataset: str, known: TorchvisionSet, splits: Mapping[str, Any]) -> LabelledImages:
    names = _class_names(splits["train"])
    found: dict[str, list[tuple[Any, int]]] = {}
    for split in SPLITS:
        if split in splits:
            found[split] = _pairs(known, splits[split])
    numbers = [number for pairs in found.values() for _, number in pairs]
    used = sorted(set(numbers))  # EMNIST's letters have a class N/A without images
    classes = tuple(names[number] if number < len(names) else str(number) for number in used)
    number_of = {number: place for place, number in enumerate(used)}
    labels, rows = by_class(
        [split for split, pairs in found.items() for _ in pairs], [number_of[number] for number in numbers]
    )
    must_be_trained(labels, classes, dataset)
    if known.takes_loader or known.files:
        paths = [path for pairs in found.values() for path, _ in pairs]
        ordered = [paths[place] for place in np.argsort(rows)]
        return LabelledImages(classes, labels, ImageFiles(ordered))
    return LabelledImages(classes, labels, SetImages([splits[split] for split in found], rows))


def _pairs(known: TorchvisionSet, images: Any) -> list[tuple[Any, int]]:
    """Returns the path of each image with its class number, sorted by path; for a set of arrays, None in its order."""
    if known.files is not None:
        return sorted((Path(path), int(label)) for path, label in known.files(images))
    if known.takes_loader:
        return sorted((Path(path), int(label)) for path, label in (images[n] for n in range(len(images))))
    return [(None, int(images[n][1])) for n in range(len(images))]


def _class_names(images: Any) -> list[str]:
    """Returns the class names of a set; a class with several names has the first, and "0", "1", ... have none."""
    return [name if isinstance(name, str) else str(name[0]) for name in getattr(images, "classes", ())]
