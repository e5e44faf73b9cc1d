"""The names of the files that images come from, listed only where a person will see them: a training needs none."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from onecycle_cli.data.csv_table import list_table
from onecycle_cli.data.folder_listing import Listing, list_folder
from onecycle_cli.data.image_folder import files_signature
from onecycle_cli.data.images import FileNames, Source, Split
from onecycle_cli.data.labelled_images import cache_beside
from onecycle_cli.progress import Report


def with_file_names(source: Source, settings: Any, report: Report) -> Source:
    """Returns a source whose splits know the file of each image, if it has one file an image; else the source itself.

    `settings` are those that `source` was read by. Files that changed since then leave it without names, with a note:
    the files are listed again, and only a listing with the signature of the source has its images in the same order.
    """
    if settings.source not in ("csv", "image_folder"):
        return source
    path = Path(settings.path)
    if settings.source == "csv":
        listing, folder = list_table(settings), path.parent
    else:
        listing, folder = list_folder(path, settings.layout), path
    if files_signature(listing, folder, cache_beside(path, settings.source)) != source.signature:
        report("Files were changed while they were read, so images have no file names.")
        return source
    names = file_names(listing, folder)

    def named(name: str, split: Split) -> Split:
        return replace(split, files=names[name])

    return replace(
        source,
        train=named("train", source.train),
        valid=source.valid and named("valid", source.valid),
        test=source.test and named("test", source.test),
    )


def file_names(listing: Listing, folder: Path) -> dict[str, FileNames]:
    """Returns the names of the files of each split, in order: the path below `folder`, with `/` between its parts.

    A file that a table names outside of `folder` has its absolute path. So `folder / name` is the file in both cases.
    """
    return {
        split: np.array([_below(folder, file) for file, _ in files], dtype=object)
        for split, files in listing.splits.items()
    }


def _below(folder: Path, file: Path) -> str:
    for root in (folder, Path(os.path.normpath(folder))):  # the paths of a table are normal
        if file.is_relative_to(root) and ".." not in file.relative_to(root).parts:
            return file.relative_to(root).as_posix()
    return Path(os.path.abspath(file)).as_posix()  # noqa: PTH100  Path.absolute() keeps `..`
