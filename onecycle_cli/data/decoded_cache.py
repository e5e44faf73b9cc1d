"""A cache file of decoded images: written once by one worker process per core, then memory-mapped by every run."""

import json
import mmap
import os
import shutil
import zlib
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, as_completed, wait
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
from filelock import BaseFileLock

from onecycle_cli.data.cores import cores
from onecycle_cli.data.decoding import DecodedRows, Encoded, MoreThan8Bits, Values, decode_into, value_range_of
from onecycle_cli.data.images import Contents, ImageFormat, Pixels, ValueRange, contents_of
from onecycle_cli.data.workers import worker_processes
from onecycle_cli.errors import InputError, is_of_machine, naming
from onecycle_cli.progress import Progress, Report

CHUNK = 256
"""The number of images that a worker process decodes between two progress reports."""

CACHED_SHARE = 0.5
"""The largest share of the memory that images may have to be expected in the page cache."""

AHEAD = 4
"""The number of chunks per worker that wait to be decoded: those of a table hold the images themselves."""

DECODING_VERSION = 4
"""The version of the pixels from `decode` and of the cache files; a change rebuilds every cache."""

BLOCK = 2**24
"""How many bytes of a file are summed at once."""

CHECKED = 2**32
"""The largest file of images that is checked when it is opened: 180 MB take 0.09 s, 4 GiB 2 s."""

ALONE = 2_000
"""The largest number of images decoded without workers: one of CIFAR size takes 0.1 ms, starting a worker 0.3 s."""

MOST_NAMED = 10
"""The largest number of unreadable images that the error message names."""

Rows = list[tuple[int, Encoded]]


class EncodedImages(Protocol):
    """The images of a source before decoding, in rows 0, 1, 2, ... of the cache."""

    def __len__(self) -> int: ...

    def chunks(self, size: int, wanted: Collection[int] | None) -> Iterator[Rows]:
        """Yields the images with their rows, at most `size` at once, in any order; only the rows `wanted` if given."""

    def name(self, row: int) -> str:
        """Returns where an image is, for messages: a path, or a file and the row in it."""


@dataclass(frozen=True)
class ImageFiles:
    """Image files as `EncodedImages`, in the order of `files`."""

    files: Sequence[Path]

    def __len__(self) -> int:
        return len(self.files)

    def chunks(self, size: int, wanted: Collection[int] | None) -> Iterator[Rows]:
        """Yields the files with their rows, `size` at once, in order."""
        rows: Sequence[int] = range(len(self.files)) if wanted is None else sorted(wanted)
        for start in range(0, len(rows), size):
            yield [(row, self.files[row]) for row in rows[start : start + size]]

    def name(self, row: int) -> str:
        """Returns the path of a file."""
        return str(self.files[row])


@dataclass(frozen=True)
class Decoded:
    """The decoded images of a source, memory-mapped from their cache.

    `images` is uint8 (N, height, width, channels); `contents` is uint64 (N,), a hash of each image. `deep_images` is
    the number of images with more than 8 bits per channel. `value_range` is the range that became 0 to 255 in these
    images, None without any.
    """

    images: Pixels
    contents: Contents
    value_range: ValueRange | None
    deep_images: int


def decoded_images(
    cache: Path,
    images: EncodedImages,
    trained: int,
    signature: str,
    image_format: ImageFormat,
    lock: BaseFileLock,
    report: Report,
) -> Decoded:
    """Returns the images as squares, row by row; decodes them if `cache` lacks them for `signature`.

    The first `trained` rows are the training images, whose values set the range that maps images with more than 8 bits
    to 8. `InputError` when images cannot be read; it names them. `lock` is held by the caller; it is free on return if
    nothing was decoded.
    """
    entry = cache / _entry_name(image_format)
    current = f"{signature} decoding {DECODING_VERSION}"
    shape = (len(images), image_format.image_size, image_format.image_size, image_format.channels)

    def let_go() -> None:
        with naming(Path(lock.lock_file)):
            lock.release()

    found = _read(entry, current, shape, let_go)
    if found is None and not lock.is_locked:
        with naming(Path(lock.lock_file)):
            lock.acquire()
        found = _read(entry, current, shape)  # another process may have put it right
    if found is None:
        beside = cache / f".{entry.name}"
        shutil.rmtree(beside, ignore_errors=True)
        with naming(entry):
            beside.mkdir()
            value_range, deep_images = _decode_all(images, trained, beside / "images.npy", image_format, report)
            np.save(beside / "contents.npy", contents_of(np.load(beside / "images.npy", mmap_mode="r")))
            sums = {}
            for name in ("images.npy", "contents.npy"):
                with (beside / name).open("rb") as file:
                    sums[name] = _crc32(file)
            known = {"signature": current, "value_range": value_range, "deep_images": deep_images, "crc32": sums}
            (beside / "decoded.json").write_text(json.dumps([known, zlib.crc32(json.dumps(known).encode())]))
            # Safe while another run has the old array mapped: the system keeps a deleted file until it is closed.
            shutil.rmtree(entry, ignore_errors=True)
            beside.replace(entry)
        found = _read(entry, current, shape)
        assert found is not None  # it has just been written
    return found


def expect_random_reads(images: Pixels, memory: int | None = None) -> None:
    """Tells the system that memory-mapped images will be read in a random order, if they are too many for its cache.

    Without this, it reads what follows each image too: 574 MiB for a batch of 1.5 MiB, in 665 ms in place of 36 (512
    images of 32x32 pixels of 200,000, a read-ahead of 8 MiB). A set that fits into the cache is read faster with it.
    `memory` is the size of the memory in bytes; None: that of this machine. Arrays that are not mapped are left alone.
    """
    file = getattr(images, "_mmap", None)
    if file is None or not hasattr(file, "madvise"):  # missing on Windows
        return
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if memory is None else memory
    if images.nbytes <= CACHED_SHARE * memory:
        return
    start = images.ctypes.data - np.frombuffer(file, np.uint8).ctypes.data
    first = -(-start // mmap.PAGESIZE) * mmap.PAGESIZE
    if start + images.nbytes > first:
        file.madvise(mmap.MADV_RANDOM, first, start + images.nbytes - first)


def _entry_name(image_format: ImageFormat) -> str:
    """Returns the folder of a format: `32px-3ch`, and what is not as in older versions, such as `32px-3ch-pad`."""
    usual = ImageFormat(image_format.image_size, image_format.channels)
    others = [getattr(image_format, name) for name in ("resize", "interpolation")]
    further = [value for value in others if value not in (usual.resize, usual.interpolation)]
    return "-".join([f"{image_format.image_size}px", f"{image_format.channels}ch", *further])


def _read(
    entry: Path, signature: str, shape: tuple[int, ...], opened: Callable[[], object] = lambda: None
) -> Decoded | None:
    """Opens the cache; None if it is missing, damaged, or of other images. `OSError` if the system cannot read it.

    `opened` is called when all files are open, before they are summed: 4 GiB take 2 s, which the ranks of a training,
    for one, need not spend one after another. Another process may put another cache in place then.
    """
    try:
        known, own_crc32 = json.loads((entry / "decoded.json").read_text())
        if zlib.crc32(json.dumps(known).encode()) != own_crc32:
            return None
        # Copy-on-write: torch needs writable memory, and the file must not change.
        images = np.lib.format.open_memmap(entry / "images.npy", mode="c")
        contents = np.lib.format.open_memmap(entry / "contents.npy", mode="c")
        fits = known["signature"] == signature and images.shape == shape and contents.shape == shape[:1]
        if not fits:
            return None
        with ExitStack() as stack:
            files = [(stack.enter_context((entry / name).open("rb")), crc32) for name, crc32 in known["crc32"].items()]
            opened()
            for file, crc32 in files:
                if os.fstat(file.fileno()).st_size <= CHECKED and _crc32(file) != crc32:
                    return None
        value_range = known["value_range"] and (float(known["value_range"][0]), float(known["value_range"][1]))
        return Decoded(images, contents, value_range, int(known["deep_images"]))
    except (OSError, ValueError, TypeError, KeyError, EOFError) as error:
        if is_of_machine(error):
            with naming(entry):
                raise
        return None


def _crc32(file: BinaryIO) -> int:
    """Sums a file: twice as fast as a hash, and any changed byte shows."""
    found = 0
    while block := file.read(BLOCK):
        found = zlib.crc32(block, found)
    return found


def _decode_all(
    images: EncodedImages, trained: int, target: Path, image_format: ImageFormat, report: Report
) -> tuple[ValueRange | None, int]:
    """Decodes images into the rows of a new npy file; returns the value range and the number of images that use it."""
    shape = (len(images), image_format.image_size, image_format.image_size, image_format.channels)
    np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=shape).flush()
    if hasattr(os, "posix_fallocate"):  # missing on macOS
        # The file is sparse so far. On a full disk, writing to the map would kill the process; this raises OSError.
        with target.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, target.stat().st_size)
    unreadable: list[tuple[int, str]] = []
    deep: list[tuple[int, Values]] = []
    done = 0
    for part in _decode(images, None, target, image_format, None):
        done += part.tried - len(part.deep)
        unreadable += part.unreadable
        deep += part.deep
        report(Progress("decoding", done, len(images), "images"))
    samples = [values for row, values in sorted(deep, key=lambda one: one[0]) if row < trained]
    value_range = value_range_of(samples) if samples else None
    if value_range is None:
        unreadable += [(row, str(MoreThan8Bits(values))) for row, values in deep]
    else:
        for part in _decode(images, {row for row, _ in deep}, target, image_format, value_range):
            done += part.tried
            unreadable += part.unreadable
            report(Progress("decoding", done, len(images), "images"))
    with target.open("rb") as file:
        os.fsync(file.fileno())  # without it, a power loss may leave a file of full size with black images
    if unreadable:
        named = "\n".join(f"  {images.name(row)}: {why}" for row, why in sorted(unreadable)[:MOST_NAMED])
        more = f"\n  and {len(unreadable) - MOST_NAMED} more" if len(unreadable) > MOST_NAMED else ""
        raise InputError(f"{len(unreadable)} files cannot be read as images:\n{named}{more}", "Repair or remove them.")
    return value_range, len(deep)


def _decode(
    images: EncodedImages,
    wanted: Collection[int] | None,
    target: Path,
    image_format: ImageFormat,
    value_range: ValueRange | None,
) -> Iterator[DecodedRows]:
    chunks = images.chunks(CHUNK, wanted)
    if (len(images) if wanted is None else len(wanted)) <= ALONE:
        yield from (decode_into(target, chunk, image_format, value_range) for chunk in chunks)
        return
    with worker_processes(cores()) as pool:
        pending: set[Future[DecodedRows]] = set()
        for chunk in chunks:
            pending.add(pool.submit(decode_into, target, chunk, image_format, value_range))
            if len(pending) > AHEAD * cores():
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        yield from (future.result() for future in as_completed(pending))
