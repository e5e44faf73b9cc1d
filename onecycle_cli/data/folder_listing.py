"""The contents of a folder of images: layout, classes, the images of each split, and what is not used and why.

There are two layouts: `splits` is `path/train/<class>/*`, with optional test and validation folders beside `train`;
`flat` is `path/<class>/*`. Only names are read here; no image is opened.
"""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from onecycle_cli.data.decoded_cache import ImageFiles
from onecycle_cli.data.decoding import image_endings
from onecycle_cli.data.labelled_images import LabelledImages, Skipped
from onecycle_cli.errors import InputError, is_of_machine, reading_error

VALID_FOLDERS = ("valid", "val", "validation")
"""The folder names of a validation split, in order of priority."""

SPLIT_LIKE = {"train", "training", "test", "testing", "tests", "dev", "eval", "holdout", *VALID_FOLDERS}
"""The folder names, in lower case, that are more likely splits than classes."""

SYSTEM_FOLDERS = {"__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found"}
"""The folders that operating systems and network drives create; thumbnails in them belong to no class."""

MOST_NAMED = 10
"""The largest number of files or folders that one message names."""


@dataclass(frozen=True)
class Listing:
    """The images of a folder: for each split, paths and class numbers, sorted by class name and then by path."""

    classes: tuple[str, ...]
    splits: dict[str, list[tuple[Path, int]]]
    skipped: list[Skipped] = field(default_factory=list)

    def files(self) -> list[tuple[Path, int]]:
        """Returns paths and class numbers of the images of all splits, in the order of the splits."""
        return [file for files in self.splits.values() for file in files]

    def labelled(self) -> LabelledImages:
        """Returns the files with their labels, to be decoded."""
        labels = {split: np.array([label for _, label in files], np.int64) for split, files in self.splits.items()}
        return LabelledImages(self.classes, labels, ImageFiles([file for file, _ in self.files()]), self.skipped)


def list_folder(path: Path, layout: str = "auto") -> Listing:
    """Lists the images below `path`; `layout` is "flat", "splits" or "auto" (splits if there is a folder `train`).

    A class is a folder that contains images. `InputError` when `path` is not a folder, there are fewer than two
    classes, another split has no classes or has one that the training split lacks, or the layout is not clear.
    """
    must_be_folder(path)
    skipped: list[Skipped] = []
    has_splits = layout == "splits" or (layout == "auto" and (path / "train").is_dir())
    if not has_splits:
        found = _class_folders(path, "train", skipped)
        _must_be_classes(path, found, layout)
        _note_loose_images(path, "", skipped)
        return _joined({"train": found}, skipped)
    if not (path / "train").is_dir():
        raise InputError(f"{path} has no folder 'train', but data.layout is splits.", "Name the training split train.")
    valid = next((name for name in VALID_FOLDERS if (path / name).is_dir()), None)
    folders = {"train": "train", "valid": valid, "test": "test" if (path / "test").is_dir() else None}
    splits = {}
    for split, name in folders.items():
        if name is not None:
            splits[split] = _class_folders(path / name, split, skipped)
            _must_have_classes(path / name, splits[split], split, layout)
            _note_loose_images(path / name, split, skipped)
    for split, classes in splits.items():
        _must_be_known(path / str(folders[split]), classes, tuple(splits["train"]))
    used = {name for name in folders.values() if name is not None}
    for folder in _folders(path):
        if folder.name not in used:
            looks = "looks like a split" if folder.name.lower() in SPLIT_LIKE else "is not a split"
            skipped.append(Skipped("", "", folder, f"{looks}, and is not used"))
    _note_loose_images(path, "", skipped)
    return _joined(splits, skipped)


def list_class_folder(path: Path, classes: tuple[str, ...]) -> Listing:
    """Lists the class folders in `path`; a class may be missing.

    `InputError` when a folder with images is not one of `classes`, or when there are no images.
    """
    must_be_folder(path)
    skipped: list[Skipped] = []
    found = _class_folders(path, "", skipped)
    _must_be_known(path, found, classes)
    if not found:
        raise InputError(f"{path} holds no images.", "Put the images of each class in a folder named after it.")
    files = [(file, classes.index(name)) for name in sorted(found) for file in found[name]]
    return Listing(classes, {"": files}, skipped)


def must_be_folder(path: Path) -> None:
    """Raises `InputError` unless `path` is a folder."""
    if not path.exists():
        raise InputError(
            f"There is no folder {path}.", "Set data.path to the folder that holds train/<class>/ or <class>/ folders."
        )
    if not path.is_dir():
        table = {".csv": "csv", ".parquet": "parquet"}.get(path.suffix.lower())
        other = f" For a table of images, set data.source to {table}." if table else ""
        raise InputError(f"{path} is a file, not a folder of images.", f"Set data.path to the folder.{other}")


def images_below(folder: Path) -> list[Path]:
    """Returns all files below `folder` whose ending is that of an image format, sorted by path."""
    return _images_among(_walk(folder, _Seen(folder)))


def _joined(splits: dict[str, dict[str, list[Path]]], skipped: list[Skipped]) -> Listing:
    classes = tuple(sorted(splits["train"]))
    numbers = {name: number for number, name in enumerate(classes)}
    files = {
        split: [(file, numbers[name]) for name in sorted(found) for file in found[name]]
        for split, found in splits.items()
    }
    return Listing(classes, files, skipped)


def _folders(path: Path) -> list[Path]:
    """Returns the folders in `path` that are not hidden, links to folders included, sorted by name."""
    return sorted(entry for entry in path.iterdir() if entry.name[0] != "." and entry.is_dir())


def _class_folders(path: Path, split: str, skipped: list[Skipped]) -> dict[str, list[Path]]:
    """Returns the images of each class folder in `path` by class name; appends what is not used to `skipped`."""
    classes = {}
    for folder in _folders(path):
        if folder.name in SYSTEM_FOLDERS:
            skipped.append(Skipped(split, "", folder, "made by the system, not a class"))
            continue
        images, not_used = _images_of_class(folder, split)
        if images:
            classes[folder.name] = images
            skipped += not_used
        else:
            skipped.append(Skipped(split, "", folder, "holds no images, so it is not a class"))
    return classes


class _Seen:
    """The folders that a walk has visited, so that the walk can follow links without visiting a folder twice."""

    def __init__(self, root: Path) -> None:
        # A link to a folder above would make the walk endless, and take it through the other classes.
        self._above = {_identity(folder) for folder in (root.resolve(), *root.resolve().parents)}
        self._inside: set[tuple[int, int]] = set()

    def refusal(self, folder: Path) -> str | None:
        """Returns the reason not to visit `folder`; otherwise records it as visited and returns None."""
        try:
            identity = _identity(folder)
        except OSError as error:
            if is_of_machine(error):
                raise  # leaving the folder out would be a training on fewer images
            return f"cannot be opened ({error.strerror})"
        if identity in self._above:
            return "a link to a folder above it"
        if identity in self._inside:
            return "leads to a folder that is already counted"
        self._inside.add(identity)
        return None


def _identity(folder: Path) -> tuple[int, int]:
    stat = folder.stat()
    return stat.st_dev, stat.st_ino


def _walk(folder: Path, seen: _Seen, refused: list[tuple[Path, str]] | None = None) -> Iterator[Path]:
    """Yields files below `folder`, through links too; skips hidden names, appends skipped folders to `refused`."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        fix = "Change its permissions, or move it away."
        raise reading_error(error, f"{folder} cannot be listed: {error.strerror}.", fix) from None
    for entry in entries:
        if entry.name[0] == ".":
            continue
        path = folder / entry.name
        if not _is_folder(entry):
            yield path
        elif entry.name in SYSTEM_FOLDERS:
            if refused is not None:
                refused.append((path, "made by the system"))
        elif why := seen.refusal(path):
            if refused is not None:
                refused.append((path, why))
        else:
            yield from _walk(path, seen, refused)


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Returns whether `entry` is a folder or a link to a folder; False for a circular link."""
    try:
        return entry.is_dir()  # a system call only for links
    except OSError as error:
        if is_of_machine(error):
            raise
        return False


def _images_among(files: Iterable[Path]) -> list[Path]:
    """Returns the files whose ending is that of an image format, sorted by path."""
    endings = image_endings()
    return sorted(file for file in files if file.suffix.lower() in endings)


def _images_of_class(folder: Path, split: str) -> tuple[list[Path], list[Skipped]]:
    """Returns the images below a class folder, and the files and folders there that are not used."""
    refused: list[tuple[Path, str]] = []
    files = list(_walk(folder, _Seen(folder), refused))
    images = _images_among(files)
    skipped = [Skipped(split, folder.name, path, why) for path, why in refused]
    others = sorted({*files} - {*images})
    broken_links = [file for file in others if file.is_symlink() and not file.exists()]
    skipped += [Skipped(split, folder.name, file, "a broken link") for file in broken_links]
    if len(others) > len(broken_links):
        endings = sorted({file.suffix.lower() or "none" for file in others if file not in broken_links})
        shown = ", ".join(endings[:5]) + (", ..." if len(endings) > 5 else "")
        what = f"not of an image format (endings: {shown})"
        skipped.append(Skipped(split, folder.name, folder, what, len(others) - len(broken_links)))
    return images, skipped


def _note_loose_images(path: Path, split: str, skipped: list[Skipped]) -> None:
    loose = _loose_images(path)
    if loose:
        skipped.append(Skipped(split, "", path, "images outside the class folders", loose))


def _loose_images(path: Path) -> int:
    """Returns the number of images directly in `path`."""
    return len(_images_among(file for file in path.iterdir() if file.name[0] != "." and not file.is_dir()))


def _must_have_classes(folder: Path, classes: dict[str, list[Path]], split: str, layout: str) -> None:
    """Raises `InputError` when a split has no class folders with images, or train fewer than two.

    With layout "auto", images directly in train may mean that train is a class of the layout "flat".
    """
    if split != "train":
        if not classes:
            raise InputError(
                f"{folder} holds no images in class folders.",
                f"Put the images of each class in {folder}/<class>/, or move the folder away.",
            )
        return
    if len(classes) < 2 and layout == "auto" and _loose_images(folder):
        raise InputError(
            f"{folder} holds images, but not in class folders: is train a split, or a class?",
            f"Put the images of each class in {folder}/<class>/. If train is a class like the folders beside it, use "
            "--set data.layout=flat.",
        )
    _must_be_several(folder, classes)


def _must_be_classes(path: Path, classes: dict[str, list[Path]], layout: str) -> None:
    splits = [folder.name for folder in _folders(path) if folder.name.lower() in SPLIT_LIKE]
    if splits and layout == "auto":
        raise InputError(
            f"{path} has no folder 'train', but it has {' and '.join(splits)}, which sound like splits, not classes.",
            "Name them train, valid and test, each with a folder for each class. If they are classes, use --set "
            "data.layout=flat.",
        )
    _must_be_several(path, classes)


def _must_be_several(path: Path, classes: dict[str, list[Path]]) -> None:
    if len(classes) < 2:
        found = f"images in the folder '{next(iter(classes))}' only" if classes else "no folders with images"
        raise InputError(
            f"{path} holds {found}, but a classifier needs at least two classes.",
            "Put the images of each class in a folder named after it.",
        )


def _must_be_known(path: Path, found: dict[str, list[Path]], classes: tuple[str, ...]) -> None:
    unknown = [name for name in found if name not in classes]
    if unknown:
        known = ", ".join(classes[:MOST_NAMED]) + (", ..." if len(classes) > MOST_NAMED else "")
        raise InputError(
            f"{path} holds folders that are not classes of the training images: {', '.join(unknown[:MOST_NAMED])}"
            + (f" and {len(unknown) - MOST_NAMED} more." if len(unknown) > MOST_NAMED else "."),
            f"The classes are {known}. Rename the folders, or move them away.",
        )
