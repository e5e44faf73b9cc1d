"""A person's own folder of images as arrays: listed, decoded once to a file beside it, and mapped from there."""

import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from onecycle_cli.data.cache import cache_folder
from onecycle_cli.data.decoded_cache import Decoded, decoded_images
from onecycle_cli.data.file_contents import content_digests
from onecycle_cli.data.folder_listing import Listing, list_folder
from onecycle_cli.data.images import Source, Split
from onecycle_cli.progress import Report, silent

NOT_USED = "Not used: "
"""How a note on something in the folder that is skipped begins."""

MOST_TOLD = 5
"""Lines on what is skipped; `onecycle data check` shows all."""


@dataclass(frozen=True)
class ImageFolder:
    """A folder of images that was read: its arrays, what lies in it, and how its images became 8 bits a channel.

    `deep_images` counts those with more than 8 bits, of whose values `source.value_range` is the range.
    """

    source: Source
    listing: Listing
    deep_images: int


def read_image_folder(path: Path, layout: str, image_size: int, channels: int, report: Report) -> ImageFolder:
    """The images below `path`, `image_size` square, as arrays mapped from the cache.

    The cache lies beside the folder, or in the user's cache where it cannot be written there; it is made again when the
    content of a file, its name, the size or the channels change. `InputError` names the files that cannot be read, and
    what a folder lacks.
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
    """What a person should know of a folder of images before training on it, a line each."""
    told = [str(skipped) for skipped in folder.listing.skipped]
    if len(told) > MOST_TOLD:
        told = [*told[: MOST_TOLD - 1], f"and {len(told) - MOST_TOLD + 1} more; `onecycle data check` lists all"]
    notes = [f"{NOT_USED}{line}." for line in told]
    for (split, name), images in folder.listing.counts().items():
        if not images:
            notes.append(f"The {split} split holds no image of class '{name}'.")
    if folder.source.value_range is not None:
        low, high = folder.source.value_range
        notes.append(
            f"{folder.deep_images:,} images have more than 8 bits a channel: their values from {low:g} to {high:g}, "
            "the 0.1 % and 99.9 % quantiles of the training images, become 0 to 255."
        )
    return notes


def folder_signature(path: Path, layout: str) -> str:
    """A hash that changes when an image comes, goes, is renamed, or has another content."""
    folder = _cache_beside(path)
    listing = list_folder(path, layout)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / ".lock"):
        return _signature(path, listing, folder, silent)


def _signature(path: Path, listing: Listing, cache: Path, report: Report) -> str:
    digest, above = hashlib.sha256(), len(str(path))  # os.path.relpath would take half of the time
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
