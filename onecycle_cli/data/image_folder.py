"""A user's folder of images as arrays: listed, decoded once to a cache, and memory-mapped from there."""

import hashlib
import json
from pathlib import Path
from typing import Protocol

from onecycle_cli.data.cache import locked
from onecycle_cli.data.file_contents import content_digests
from onecycle_cli.data.folder_listing import Listing, list_folder
from onecycle_cli.data.images import PixelSpec, Source
from onecycle_cli.data.labelled_images import Inventory, cache_beside, decoded_source
from onecycle_cli.progress import Report, silent


class FolderSpec(PixelSpec, Protocol):
    """The settings of this source: the folder, and its layout as `list_folder` takes it."""

    @property
    def path(self) -> str: ...
    @property
    def layout(self) -> str: ...


def read(settings: FolderSpec, report: Report) -> Source:
    """Reads the images of a folder as arrays memory-mapped from a cache, and reports what is not used.

    The cache is beside the folder, or in the user's cache if that place is read-only. It is rebuilt when a file's
    content or name changes, or the format of the images. `InputError` when a file cannot be read or the folder has no
    valid layout.
    """
    path = Path(settings.path)
    return read_files(list_folder(path, settings.layout), path, cache_beside(path, "image_folder"), settings, report)


def signature(settings: FolderSpec) -> str:
    """Returns a hash that changes when an image is added, removed, renamed or edited."""
    path = Path(settings.path)
    return files_signature(list_folder(path, settings.layout), path, cache_beside(path, "image_folder"))


def known_train_images(settings: FolderSpec) -> None:  # noqa: ARG001  part of the interface
    """Returns None: the number of images is not known without listing the folder."""
    return


def inventory(settings: FolderSpec) -> Inventory:
    """Returns the number of images of each class in each split, and everything in the folder that is not used."""
    return list_folder(Path(settings.path), settings.layout).labelled().inventory


def read_files(listing: Listing, root: Path, cache: Path, settings: PixelSpec, report: Report) -> Source:
    """Decodes the files of `listing`, or maps them from the folder `cache`; their names are those below `root`."""
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / ".lock") as lock:
        current = _signature(listing, root, cache, report)
        return decoded_source(listing.labelled(), cache, current, settings, lock, report)


def files_signature(listing: Listing, root: Path, cache: Path) -> str:
    """Returns a hash of the splits, names below `root`, labels and contents of the files in `listing`."""
    cache.mkdir(parents=True, exist_ok=True)
    with locked(cache / ".lock"):
        return _signature(listing, root, cache, silent)


def _signature(listing: Listing, root: Path, cache: Path, report: Report) -> str:
    digest, above = hashlib.sha256(), len(str(root))  # os.path.relpath would take half of the total time
    contents = iter(content_digests([file for file, _ in listing.files()], cache / "contents.json", report))
    for split, files in listing.splits.items():
        for file, label in files:
            line = (split, str(file)[above:], label, next(contents))
            digest.update(json.dumps(line).encode("ascii"))
    return digest.hexdigest()
