"""A person's own folder of images: one folder a class, decoded once to an array that is mapped from a file.

Either `path/train/<class>/*` with `path/test/<class>/*` and perhaps a validation folder, or `path/<class>/*`.
"""

import hashlib
import multiprocessing
import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISREG

import numpy as np
from filelock import FileLock

from onecycle_cli.data.cache import cache_folder
from onecycle_cli.data.decoding import decode_into, may_be_image
from onecycle_cli.data.images import Source, Split
from onecycle_cli.errors import InputError
from onecycle_cli.progress import Progress, Report, silent

VALID_FOLDERS = ("valid", "val", "validation")
SPLIT_NAMES = {"train", "training", "test", "testing", *VALID_FOLDERS}
CHUNK = 256
"""Images that one process decodes between two reports."""

DECODING_VERSION = 2
"""Raised when `decode` gives other pixels, so that caches are made again."""

ALONE = 2_000
"""Up to so many images are decoded in this process: a CIFAR-sized one takes 0.1 ms, another process 0.3 s to start."""


@dataclass(frozen=True)
class _Listing:
    """The files of a folder, in order: split by split, class by class, by name."""

    classes: tuple[str, ...]
    splits: dict[str, list[tuple[Path, int]]]

    def files(self) -> list[tuple[Path, int]]:
        return [file for files in self.splits.values() for file in files]


def read_image_folder(path: Path, image_size: int, channels: int, report: Report) -> Source:
    """The images below `path`, `image_size` square, as arrays mapped from the cache.

    The cache lies beside the folder, or in the user's cache where it cannot be written there; it is made again when a
    file, the size or the channels change. `InputError` names the files that cannot be read, and what a folder lacks.
    """
    listing = _list_folder(path, report)
    signature = _signature(path, listing)
    arrays = _cached(path, listing, signature, image_size, channels, report)
    images = np.load(arrays, mmap_mode="c")  # copy-on-write: torch wants writable memory, the file stays as it is
    splits, start = {}, 0
    for name, files in listing.splits.items():
        labels = np.array([label for _, label in files], dtype=np.int64)
        splits[name] = Split(images[start : start + len(files)], labels)
        start += len(files)
    return Source(splits["train"], splits.get("valid"), splits.get("test"), listing.classes, signature)


def count_images(path: Path, report: Report) -> dict[str, int]:
    """Images in each split of a folder, by listing alone."""
    return {name: len(files) for name, files in _list_folder(path, report).splits.items()}


def folder_signature(path: Path) -> str:
    """A hash that changes when an image comes, goes, moves or is written to."""
    return _signature(path, _list_folder(path, silent))


def class_images(path: Path, classes: tuple[str, ...], report: Report) -> list[tuple[Path, int]]:
    """The images of a plain folder of classes, all of which must be among `classes`."""
    _must_be_folder(path)
    return _list_split(path, classes, report)


def _list_folder(path: Path, report: Report) -> _Listing:
    _must_be_folder(path)
    if not (path / "train").is_dir():
        classes = _classes(path)
        return _Listing(classes, {"train": _list_split(path, classes, report)})
    classes = _classes(path / "train")
    splits = {"train": _list_split(path / "train", classes, report)}
    valid = next((path / name for name in VALID_FOLDERS if (path / name).is_dir()), None)
    if valid is not None:
        splits["valid"] = _list_split(valid, classes, report)
    if (path / "test").is_dir():
        splits["test"] = _list_split(path / "test", classes, report)
    return _Listing(classes, splits)


def _must_be_folder(path: Path) -> None:
    if not path.exists():
        raise InputError(
            f"There is no folder {path}.", "Set data.path to the folder that holds train/<class>/ or <class>/ folders."
        )
    if not path.is_dir():
        raise InputError(f"{path} is a file, not a folder of images.", "Set data.path to the folder.")


def _classes(folder: Path) -> tuple[str, ...]:
    classes = tuple(sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."))
    if len(classes) < 2:
        found = f"only the folder '{classes[0]}'" if classes else "no folders"
        raise InputError(
            f"{folder} holds {found}, but a classifier needs at least two classes.",
            "Put the images of each class in a folder named after it.",
        )
    splits = [name for name in classes if name.lower() in SPLIT_NAMES]
    if splits:
        raise InputError(
            f"{folder} has no folder 'train', but it has {' and '.join(splits)}, which sound like splits, not classes.",
            "Name them train, valid and test, each with a folder for each class.",
        )
    return classes


def _list_split(folder: Path, classes: tuple[str, ...], report: Report) -> list[tuple[Path, int]]:
    """All images below the class folders, with the number of their class."""
    strangers = sorted(
        {entry.name for entry in folder.iterdir() if entry.is_dir() and entry.name[0] != "."} - {*classes}
    )
    if strangers:
        raise InputError(
            f"{folder} holds folders that are no class of the training images: {', '.join(strangers)}.",
            f"The classes are {', '.join(classes)}.",
        )
    files, others = [], 0
    for label, name in enumerate(classes):
        found = list(_files(folder / name))
        images = sorted(file for file in found if may_be_image(file))
        others += len(found) - len(images)
        files += [(file, label) for file in images]
        if not images:
            report(f"{folder} holds no image of class '{name}'.")
    if not files:
        raise InputError(f"{folder} holds no images.", "Put the images of each class in a folder named after it.")
    if others:
        report(f"{others} files below {folder} are passed over: their endings are none of an image.")
    return files


def _files(folder: Path) -> Iterator[Path]:
    for inner, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name[0] != "."]
        yield from (Path(inner, name) for name in names if name[0] != ".")


def _cached(path: Path, listing: _Listing, signature: str, image_size: int, channels: int, report: Report) -> Path:
    """The npy file with all images of the listing, decoded now if it is not there or no longer fits."""
    folder = _cache_beside(path)
    folder.mkdir(parents=True, exist_ok=True)
    entry = folder / f"{image_size}px-{channels}ch"
    with FileLock(folder / ".lock"):
        files = listing.files()
        if not _is_current(entry, signature, (len(files), image_size, image_size, channels)):
            beside = folder / f".{entry.name}"
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir()
            _decode_all(files, beside / "images.npy", image_size, channels, report)
            (beside / "signature").write_text(signature)
            # A run that has the old array mapped keeps it: its file lives on until it is let go.
            shutil.rmtree(entry, ignore_errors=True)
            beside.replace(entry)
        return entry / "images.npy"


def _is_current(entry: Path, signature: str, shape: tuple[int, ...]) -> bool:
    """Whether the cache is of these images, and as long as it was."""
    try:
        same = (entry / "signature").read_text() == signature
        return same and np.lib.format.open_memmap(entry / "images.npy", mode="r").shape == shape
    except (FileNotFoundError, ValueError):
        return False


def _cache_beside(path: Path) -> Path:
    beside = path.with_name(path.name + ".onecycle-cache")
    if os.access(beside if beside.exists() else path.parent, os.W_OK):
        return beside
    return cache_folder() / "image_folder" / hashlib.sha256(os.fsencode(path)).hexdigest()[:16]


def _signature(path: Path, listing: _Listing) -> str:
    """A hash that changes when a file comes, goes, moves or is written to."""
    digest = hashlib.sha256(f"decoding {DECODING_VERSION}".encode())
    for name, files in listing.splits.items():
        for file, label in files:
            try:
                stat = file.stat()
            except OSError as error:  # a link to nowhere
                raise InputError(f"{file} cannot be read: {error.strerror}.", "Mend or remove it.") from None
            if not S_ISREG(stat.st_mode):  # from a pipe one would wait for ever
                raise InputError(f"{file} is no file: it is a pipe, a socket or a device.", "Remove it.")
            line = (name, os.path.relpath(file, path), label, stat.st_size, stat.st_mtime_ns)
            digest.update(repr(line).encode(errors="surrogateescape"))
    return digest.hexdigest()


def _decode_all(files: list[tuple[Path, int]], target: Path, image_size: int, channels: int, report: Report) -> None:
    """Decodes `files` to the rows of a new npy array, in as many processes as there are cores."""
    shape = (len(files), image_size, image_size, channels)
    np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=shape).flush()
    if hasattr(os, "posix_fallocate"):  # macOS lacks it
        # The file is sparse so far. Writing through the map of a full disk would kill the process; this raises OSError.
        with target.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, target.stat().st_size)
    paths = [path for path, _ in files]
    chunks = [
        (target, first, paths[first : first + CHUNK], image_size, channels) for first in range(0, len(paths), CHUNK)
    ]
    done, unreadable = 0, []
    for count, bad in _decode_chunks(chunks, alone=len(files) <= ALONE):
        done += count
        unreadable += bad
        report(Progress("decoding", done, len(files), "images"))
    with target.open("rb") as file:
        os.fsync(file.fileno())  # else a loss of power may leave black images under their whole size
    if unreadable:
        named = "\n".join(f"  {path}: {why}" for path, why in sorted(unreadable)[:10])
        more = f"\n  and {len(unreadable) - 10} more" if len(unreadable) > 10 else ""
        raise InputError(f"{len(unreadable)} files cannot be read as images:\n{named}{more}", "Mend or remove them.")


def _decode_chunks(
    chunks: list[tuple[Path, int, list[Path], int, int]], *, alone: bool
) -> Iterator[tuple[int, list[tuple[Path, str]]]]:
    if alone:
        yield from (decode_into(*chunk) for chunk in chunks)
        return
    # Threads would be slower than one: for small images it is Python, not the decoder, that takes the time (measured
    # on 5,000 CIFAR-10 images: 107 us each alone, 222 us with two threads). Spawned, since torch's threads may be
    # running and do not survive a fork.
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(_cores(), spawn, initializer=_leave_interrupts_to_the_parent) as pool:
        try:
            for future in as_completed([pool.submit(decode_into, *chunk) for chunk in chunks]):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _cores() -> int:
    """The cores this process may use; macOS knows no affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _leave_interrupts_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
