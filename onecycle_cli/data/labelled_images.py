"""The images of a source with labels, before and after decoding: one order, one cache and the same notes for all.

The order of the images is train, valid, test; in each split by class; in each class by path for files, and by row for
tables and torchvision's sets. So a source of the same images gives the same training to the bit, whatever it is.
"""

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from filelock import BaseFileLock
from numpy.typing import NDArray

from onecycle_cli.data.cache import cache_folder
from onecycle_cli.data.decoded_cache import EncodedImages, decoded_images
from onecycle_cli.data.images import ImageFormat, Labels, PixelSpec, Source, Split
from onecycle_cli.errors import InputError
from onecycle_cli.progress import Report

SPLITS = ("train", "valid", "test")
"""The splits, in the order of their images."""

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("valid", "val", "validation"), "valid"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""The names of the splits in tables and file names, in lower case."""

NOT_USED = "Not used: "
"""The prefix of a note on a skipped file or folder."""

MOST_LISTED = 5
"""The largest number of notes on skipped files and folders; `onecycle data check` shows all."""


@dataclass(frozen=True)
class Skipped:
    """A file or folder that is not used: `what` is the reason, `files` the number of files (0: not counted).

    `split` and `class_name` are those of the file or folder, or "".
    """

    split: str
    class_name: str
    path: Path
    what: str
    files: int = 0

    def __str__(self) -> str:
        count = f"{self.files:,} file{'' if self.files == 1 else 's'}, " if self.files else ""
        return f"{self.path}: {count}{self.what}"


@dataclass(frozen=True)
class Inventory:
    """What a source holds: the number of images by (split, class name), zeros included, and what is not used."""

    counts: dict[tuple[str, str], int]
    skipped: list[Skipped]


@dataclass(frozen=True)
class LabelledImages:
    """The images of a source before decoding.

    `labels` has the class numbers of each split, int64, sorted. `images` has the rows of all splits, one after another.
    """

    classes: tuple[str, ...]
    labels: dict[str, Labels]
    images: EncodedImages
    skipped: list[Skipped] = field(default_factory=list)

    @property
    def inventory(self) -> Inventory:
        """The number of images of each class in each split, and what is not used."""
        counts: dict[tuple[str, str], int] = {}
        for split, labels in self.labels.items():
            found = np.bincount(labels, minlength=len(self.classes)).tolist()
            counts |= {(split, name): images for name, images in zip(self.classes, found, strict=True)}
        return Inventory(counts, self.skipped)


def decoded_source(
    found: LabelledImages, cache: Path, signature: str, settings: PixelSpec, lock: BaseFileLock, report: Report
) -> Source:
    """Decodes the images of a source, or maps them from `cache`, and reports what a user should know of them.

    The cache is built again when `signature` or the format of the images changes. `InputError` when images cannot be
    read. The caller holds the `lock` of the cache; it is free on return if nothing was decoded.
    """
    trained = len(found.labels["train"])
    decoded = decoded_images(cache, found.images, trained, signature, ImageFormat.of(settings), lock, report)
    splits, start = {}, 0
    for name, labels in found.labels.items():
        rows = slice(start, start + len(labels))
        splits[name] = Split(decoded.images[rows], labels, decoded.contents[rows])
        start = rows.stop
    source = Source(
        splits["train"], splits.get("valid"), splits.get("test"), found.classes, signature, decoded.value_range
    )
    for text in _notes_on(found.inventory, source, decoded.deep_images):
        report(text)
    return source


def _notes_on(inventory: Inventory, source: Source, deep_images: int) -> list[str]:
    """Returns notes on the images of a source, one line each: skipped files, empty classes, mapped values."""
    lines = [str(skipped) for skipped in inventory.skipped]
    if len(lines) > MOST_LISTED:
        lines = [*lines[: MOST_LISTED - 1], f"and {len(lines) - MOST_LISTED + 1} more; `onecycle data check` lists all"]
    notes = [f"{NOT_USED}{line}." for line in lines]
    for (split, name), images in inventory.counts.items():
        if not images:
            notes.append(f"The {split} split holds no image of class '{name}'.")
    if source.value_range is not None:
        low, high = source.value_range
        notes.append(
            f"{deep_images:,} images have more than 8 bits per channel: their values from {low:g} to {high:g}, "
            "the 0.1 % and 99.9 % quantiles of the training images, become 0 to 255."
        )
    return notes


def by_class(splits: Sequence[str], numbers: Sequence[int]) -> tuple[dict[str, Labels], NDArray[np.int64]]:
    """Sorts images by split, then by class; images of one class keep their order.

    `splits` and `numbers` have the split and the class number of each image. Returns the sorted class numbers of each
    split, and the row of each image in the sorted order.
    """
    labels = np.asarray(numbers, dtype=np.int64)
    places = np.array([SPLITS.index(split) for split in splits], dtype=np.int64)
    order = np.lexsort((labels, places))  # stable
    rows = np.empty(len(order), dtype=np.int64)
    rows[order] = np.arange(len(order))
    return {split: np.sort(labels[places == place]) for place, split in enumerate(SPLITS) if place in places}, rows


def must_be_trained(labels: Mapping[str, Sequence[int] | Labels], classes: Sequence[str], where: str) -> None:
    """Raises `InputError` when fewer than two classes have training images, or a class of another split has none.

    `labels` has the class number of each image of each split; `where` names the source in messages.
    """
    present = {split: set(np.unique(found).tolist()) for split, found in labels.items()}
    trained = present.get("train", set())
    if not trained:
        raise InputError(f"{where} holds no training images.", "Name the split of the training images train.")
    for split, found in present.items():
        unknown = [classes[number] for number in sorted(found - trained)]
        if unknown:
            raise InputError(
                f"{where}: the {split} split has classes without training images: {', '.join(unknown[:10])}"
                + (f" and {len(unknown) - 10} more." if len(unknown) > 10 else "."),
                f"Add training images of these classes, or leave these classes out of {split}.",
            )
    if len(trained) < 2:
        raise InputError(
            f"{where} holds training images of the class '{classes[min(trained)]}' only, but a classifier needs at "
            "least two classes.",
            "Check the labels.",
        )


def cache_beside(path: Path, source: str) -> Path:
    """Returns the folder of the decoded images: beside `path`, or in the user's cache.

    In the user's cache they are if that place is read-only, or if `path` is a pattern.
    """
    beside = path.with_name(path.name + ".onecycle-cache")
    if path.exists() and os.access(beside if beside.exists() else path.parent, os.W_OK):
        return beside
    return cache_folder() / source / hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
