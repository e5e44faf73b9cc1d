"""A user's folder of images as arrays: listed, decoded once to a cache, and memory-mapped from there."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from filelock import FileLock

from onecycle_cli.data.cache import cache_folder
from onecycle_cli.data.decoded_cache import Decoded, decoded_images
from onecycle_cli.data.file_contents import content_digests
from onecycle_cli.data.folder_listing import Listing, list_folder
from onecycle_cli.data.images import PixelSpec, Source, Split
from onecycle_cli.progress import Report, silent

NOT_USED = "Not used: "
"""The prefix of a note on a skipped file or folder."""

MOST_LISTED = 5
"""The largest number of notes on skipped files and folders; `onecycle data check` shows all."""


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images after reading: the arrays in `source`, the file names, and the number of deep images.

    `deep_images` counts the images with more than 8 bits per channel; `source.value_range` maps their values to 8 bits.
    """

    source: Source
    listing: Listing
    deep_images: int


class FolderSpec(PixelSpec, Protocol):
    """The settings of this source: the folder, and its layout as `list_folder` takes it."""

    @property
    def path(self) -> str: ...
    @property
    def layout(self) -> str: ...


def read(settings: FolderSpec, report: Report) -> Source:
    """Reads a folder of images in the size of `settings`, and reports what is not used."""
    folder = read_image_folder(Path(settings.path), settings.layout, settings.image_size, settings.channels, report)
    for text in notes_on(folder):
        report(text)
    return folder.source


def signature(settings: FolderSpec) -> str:
    """Returns a hash that changes when an image is added, removed, renamed or edited."""
    return folder_signature(Path(settings.path), settings.layout)


def known_train_images(settings: FolderSpec) -> None:  # noqa: ARG001  part of the interface
    """Returns None: the number of images is not known without listing the folder."""
    return


def read_image_folder(path: Path, layout: str, image_size: int, channels: int, report: Report) -> ImageFolder:
    """Reads the images below `path`, `image_size` square, as arrays memory-mapped from a cache.

    The cache is beside the folder, or in the user's cache if that place is read-only. It is rebuilt when a file's
    content or name changes, or `image_size` or `channels`. `InputError` when a file cannot be read or the folder has no
    valid layout.
    """
    listing = list_folder(path, layout)
    files = listing.files()
    folder = _cache_beside(path)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        signature = _signature(path, listing, folder, report)
        trained = len(listing.splits["train"])
        decoded = decoded_images(folder, [file for file, _ in files], trained, signature, image_size, channels, report)
    source = Source(
        _split(listing, "train", decoded),
        _split(listing, "valid", decoded) if "valid" in listing.splits else None,
        _split(listing, "test", decoded) if "test" in listing.splits else None,
        listing.classes,
        signature,
        decoded.value_range,
    )
    return ImageFolder(source, listing, decoded.deep_images)


def notes_on(folder: ImageFolder) -> list[str]:
    """Returns notes on a folder of images for the user, one line each: skipped files, empty classes, mapped values."""
    lines = [str(skipped) for skipped in folder.listing.skipped]
    if len(lines) > MOST_LISTED:
        lines = [*lines[: MOST_LISTED - 1], f"and {len(lines) - MOST_LISTED + 1} more; `onecycle data check` lists all"]
    notes = [f"{NOT_USED}{line}." for line in lines]
    for (split, name), images in folder.listing.counts().items():
        if not images:
            notes.append(f"The {split} split holds no image of class '{name}'.")
    if folder.source.value_range is not None:
        low, high = folder.source.value_range
        notes.append(
            f"{folder.deep_images:,} images have more than 8 bits per channel: their values from {low:g} to {high:g}, "
            "the 0.1 % and 99.9 % quantiles of the training images, become 0 to 255."
        )
    return notes


def folder_signature(path: Path, layout: str) -> str:
    """Returns a hash that changes when an image is added, removed, renamed or edited."""
    folder = _cache_beside(path)
    listing = list_folder(path, layout)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        return _signature(path, listing, folder, silent)


def _signature(path: Path, listing: Listing, cache: Path, report: Report) -> str:
    digest, above = hashlib.sha256(), len(str(path))  # os.path.relpath would take half of the total time
    contents = iter(content_digests([file for file, _ in listing.files()], cache / "contents.json", report))
    for split, files in listing.splits.items():
        for file, label in files:
            line = (split, str(file)[above:], label, next(contents))
            digest.update(json.dumps(line).encode("ascii"))
    return digest.hexdigest()


def _split(listing: Listing, name: str, decoded: Decoded) -> Split:
    names = list(listing.splits)
    start = sum(len(listing.splits[before]) for before in names[: names.index(name)])
    labels = np.array([label for _, label in listing.splits[name]], dtype=np.int64)
    rows = slice(start, start + len(labels))
    return Split(decoded.images[rows], labels, decoded.contents[rows])


def _cache_beside(path: Path) -> Path:
    beside = path.with_name(path.name + ".onecycle-cache")
    if os.access(beside if beside.exists() else path.parent, os.W_OK):
        return beside
    return cache_folder() / "image_folder" / hashlib.sha256(os.fsencode(path)).hexdigest()[:16]
