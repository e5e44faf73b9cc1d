"""A cache file of decoded images: written once by one worker process per core, then memory-mapped by every run."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import as_completed
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from onecycle_cli.data.cores import cores
from onecycle_cli.data.decoding import DecodedRows, MoreThan8Bits, Values, decode_into, value_range_of
from onecycle_cli.data.images import Contents, Pixels, ValueRange, contents_of
from onecycle_cli.data.workers import worker_processes
from onecycle_cli.errors import InputError
from onecycle_cli.progress import Progress, Report

CHUNK = 256
"""The number of images that a worker process decodes between two progress reports."""

DECODING_VERSION = 3
"""The version of the pixels from `decode` and of the cache files; a change rebuilds every cache."""

ALONE = 2_000
"""The largest number of images decoded without workers: one of CIFAR size takes 0.1 ms, starting a worker 0.3 s."""

MOST_NAMED = 10
"""The largest number of unreadable files that the error message names."""

Rows = list[tuple[int, Path]]


@dataclass(frozen=True)
class Decoded:
    """The decoded images of a folder, memory-mapped from its cache.

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
    files: Sequence[Path],
    trained: int,
    signature: str,
    image_size: int,
    channels: int,
    report: Report,
) -> Decoded:
    """Returns the images of `files` as squares, in this order; decodes them if `cache` lacks them for `signature`.

    The first `trained` files are the training images, whose values set the range that maps images with more than 8 bits
    to 8. `InputError` when files cannot be read; it names them.
    """
    entry = cache / f"{image_size}px-{channels}ch"
    current = f"{signature} decoding {DECODING_VERSION}"
    shape = (len(files), image_size, image_size, channels)
    found = _read(entry, current, shape)
    if found is None:
        beside = cache / f".{entry.name}"
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir()
        value_range, deep_images = _decode_all(files, trained, beside / "images.npy", shape, report)
        np.save(beside / "contents.npy", contents_of(np.load(beside / "images.npy", mmap_mode="r")))
        known = {"signature": current, "value_range": value_range, "deep_images": deep_images}
        (beside / "decoded.json").write_text(json.dumps(known))
        # Safe while another run has the old array mapped: the system keeps a deleted file until the last map is closed.
        shutil.rmtree(entry, ignore_errors=True)
        beside.replace(entry)
        found = _read(entry, current, shape)
        assert found is not None  # it has just been written
    return found


def _read(entry: Path, signature: str, shape: tuple[int, ...]) -> Decoded | None:
    """Opens the cache; None if it is missing, truncated, or of other images."""
    try:
        known = json.loads((entry / "decoded.json").read_text())
        # Copy-on-write: torch needs writable memory, and the file must not change.
        images = np.lib.format.open_memmap(entry / "images.npy", mode="c")
        contents = np.lib.format.open_memmap(entry / "contents.npy", mode="c")
        fits = known["signature"] == signature and images.shape == shape and contents.shape == shape[:1]
        value_range = known["value_range"] and (float(known["value_range"][0]), float(known["value_range"][1]))
        return Decoded(images, contents, value_range, int(known["deep_images"])) if fits else None
    except (OSError, ValueError, TypeError, KeyError, EOFError):
        return None


def _decode_all(
    files: Sequence[Path], trained: int, target: Path, shape: tuple[int, ...], report: Report
) -> tuple[ValueRange | None, int]:
    """Decodes `files` into the rows of a new npy file; returns the value range and the number of images that use it."""
    np.lib.format.open_memmap(target, mode="w+", dtype=np.uint8, shape=shape).flush()
    if hasattr(os, "posix_fallocate"):  # missing on macOS
        # The file is sparse so far. On a full disk, writing to the map would kill the process; this raises OSError.
        with target.open("r+b") as file:
            os.posix_fallocate(file.fileno(), 0, target.stat().st_size)
    unreadable: list[tuple[Path, str]] = []
    deep: list[tuple[int, Path, Values]] = []
    done = 0
    for part in _decode(list(enumerate(files)), target, shape, None):
        done += part.tried - len(part.deep)
        unreadable += part.unreadable
        deep += part.deep
        report(Progress("decoding", done, len(files), "images"))
    samples = [values for row, _, values in sorted(deep, key=lambda one: one[0]) if row < trained]
    value_range = value_range_of(samples) if samples else None
    if value_range is None:
        unreadable += [(path, str(MoreThan8Bits(values))) for _, path, values in deep]
    else:
        for part in _decode([(row, path) for row, path, _ in deep], target, shape, value_range):
            done += part.tried
            unreadable += part.unreadable
            report(Progress("decoding", done, len(files), "images"))
    with target.open("rb") as file:
        os.fsync(file.fileno())  # without it, a power loss may leave a file of full size with black images
    if unreadable:
        named = "\n".join(f"  {path}: {why}" for path, why in sorted(unreadable)[:MOST_NAMED])
        more = f"\n  and {len(unreadable) - MOST_NAMED} more" if len(unreadable) > MOST_NAMED else ""
        raise InputError(f"{len(unreadable)} files cannot be read as images:\n{named}{more}", "Repair or remove them.")
    return value_range, len(deep)


def _decode(rows: Rows, target: Path, shape: tuple[int, ...], value_range: ValueRange | None) -> Iterator[DecodedRows]:
    _, image_size, _, channels = shape
    chunks = [rows[first : first + CHUNK] for first in range(0, len(rows), CHUNK)]
    if len(rows) <= ALONE:
        yield from (decode_into(target, chunk, image_size, channels, value_range) for chunk in chunks)
        return
    with worker_processes(cores()) as pool:
        futures = [pool.submit(decode_into, target, chunk, image_size, channels, value_range) for chunk in chunks]
        for future in as_completed(futures):
            yield future.result()
