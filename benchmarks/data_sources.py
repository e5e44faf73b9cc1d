"""Times training on images that are larger than the memory beside resident ones: benchmarks/results/data_sources.csv.

    python benchmarks/data_sources.py --images 200000 --image-size 32
    python benchmarks/data_sources.py --device cuda --images 2000000 --folder /disk

Writes a file of random images, as the cache of decoded images is, and trains on it in turn, some steps each:

- resident: the images are copied to the memory of the device;
- mapped: the file is memory-mapped, and its pages are in the page cache, as for a set that fits into it;
- mapped, pages dropped: the same, but before every step madvise(MADV_DONTNEED) and posix_fadvise(POSIX_FADV_DONTNEED)
  drop all pages, so that every image has to be read from the disk, as of a set that is many times the memory. The time
  of dropping is not counted;
- dropped, read ahead: the same without `expect_random_reads`, so that the system reads what follows each image too.

In each turn the batches are first only read (`read_images_per_second`, and the bytes that the process had read from the
disk), and then trained on. Appends a row for each turn, and prints medians and their ratios.
"""

import argparse
import mmap
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from rows import append, installed

from onecycle_cli.data.augmentation import Augmentation
from onecycle_cli.data.batches import Normalization, TrainBatches
from onecycle_cli.data.decoded_cache import expect_random_reads
from onecycle_cli.data.images import ImageData, Split
from onecycle_cli.experiments.trainers import new_trainer
from onecycle_cli.recipe import load, shipped_path, with_values
from onecycle_cli.schedules import LrMomentum
from onecycle_cli.training.hardware import configure_process, resolve_hardware
from onecycle_cli.training.trainer import Trainer

CLASSES = 10

MAPPED = ("mapped", "mapped, pages dropped", "dropped, read ahead")
"""The ways in which the images stay in their file."""

Mapped = np.memmap[tuple[int, ...], np.dtype[np.uint8]]


def main() -> None:
    """Trains some steps in each way, several times over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--architecture", default="resnet8")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--steps", type=int, default=40, help="in each turn")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: that of temporary files")
    asked = parser.parse_args()
    if not hasattr(os, "posix_fadvise"):
        sys.exit("This system cannot drop the pages of a file from its cache.")
    hardware = resolve_hardware(asked.device, asked.precision)
    configure_process(hardware, deterministic=False)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        # A file each: a page that one way has mapped cannot be dropped for another.
        files = {way: Path(folder) / f"{number}.npy" for number, way in enumerate(MAPPED)}
        mapped = {way: written(file, asked.images, asked.image_size) for way, file in files.items()}
        expect_random_reads(mapped["mapped, pages dropped"], memory=0)
        trainer = trainer_on(mapped["mapped"], asked)
        first = trainer.batches
        batches = {way: replace(first, images=torch.from_numpy(images)) for way, images in mapped.items()}
        batches = {"resident": replace(first, images=first.images.to(hardware.device, copy=True)), **batches}
        machine = facts(hardware.name, hardware.precision)
        found: dict[str, list[dict[str, float]]] = {way: [] for way in batches}
        for repeat in range(asked.repeats + 1):
            for way, used in batches.items():
                dropped = (files[way], mapped[way]) if "dropped" in way else None
                measured = turn(trainer, used, repeat, asked.steps, dropped)
                if repeat == 0:
                    continue  # records CUDA graphs, and fills the page cache
                found[way].append(measured)
                sizes = {"images": asked.images, "image_size": asked.image_size, "batch_size": asked.batch_size}
                sizes["steps"] = asked.steps
                row = {"architecture": asked.architecture, "way": way, "repeat": repeat}
                append("data_sources", row | sizes | measured | machine)
    for name in ("images_per_second", "read_images_per_second"):
        medians = {way: statistics.median(one[name] for one in turns) for way, turns in found.items()}
        for way, median in medians.items():
            print(f"{name}, {way}: {median:,.0f}, {median / medians['resident']:.3f} of resident")


def written(file: Path, images: int, size: int) -> Mapped:
    """Writes a file of random images, and maps it as the cache of decoded images is mapped."""
    made = np.lib.format.open_memmap(file, mode="w+", dtype=np.uint8, shape=(images, size, size, 3))
    generator = np.random.default_rng(0)
    for start in range(0, images, 4096):
        made[start : start + 4096] = generator.integers(0, 256, made[start : start + 4096].shape, dtype=np.uint8)
    made.flush()
    del made
    with file.open("rb") as opened:
        os.fsync(opened.fileno())  # pages that are not written yet cannot be dropped
    return np.lib.format.open_memmap(file, mode="c")


def trainer_on(images: Mapped, asked: argparse.Namespace) -> Trainer:
    """A trainer of the shipped recipe for ResNet-8 on the images, with flips and crops."""
    hardware = resolve_hardware(asked.device, asked.precision)
    values = {"data.batch_size": asked.batch_size, "data.image_size": asked.image_size}
    recipe = with_values(
        load(shipped_path("cifar10-resnet8")),
        values | {"model.architecture": asked.architecture, "schedule.max_lr": 0.1},
    )
    labels = np.random.default_rng(1).integers(0, CLASSES, len(images))
    split = Split(images, labels, np.zeros(len(images), np.uint64))
    mean, std = (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)
    classes = tuple(map(str, range(CLASSES)))
    data = ImageData(split, split, "test split", None, classes, mean, std, "random", None)
    batches = TrainBatches(
        torch.from_numpy(images),
        torch.from_numpy(labels),
        Normalization.of(mean, std, hardware.device),
        Augmentation(horizontal_flip=True, random_crop=True, padding=4),
        asked.batch_size,
        True,
        0,
    )
    return new_trainer(recipe, data, None, batches, hardware, print)


def turn(
    trainer: Trainer, batches: TrainBatches, number: int, steps: int, dropped: tuple[Path, Mapped] | None
) -> dict[str, float]:
    """Reads the first batches of an epoch in a new order, and trains on those of the next; rates and bytes an image."""
    trainer.batches = replace(batches, seed=2 * number)
    read_before = read_bytes()
    fetched = rate(replace(batches, seed=2 * number + 1).drawn(0), steps, dropped)
    read = (read_bytes() - read_before) / (steps * batches.batch_size)
    trained = rate(trainer.steps(lambda _: LrMomentum(0.01, 0.9)), steps, dropped)
    return {
        "images_per_second": trained * batches.batch_size,
        "read_images_per_second": fetched * batches.batch_size,
        "read_bytes_per_image": read,
    }


def rate(taken: Iterator[object], steps: int, dropped: tuple[Path, Mapped] | None) -> float:
    """Takes so many elements, with the pages dropped before each where asked; elements a second."""
    seconds = 0.0
    for _ in range(steps):
        if dropped is not None:
            drop_pages(*dropped)
        started = time.perf_counter()
        next(taken)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds += time.perf_counter() - started
    return steps / seconds


def drop_pages(file: Path, mapped: Mapped) -> None:
    """Drops the pages of a mapped file from this process and from the page cache."""
    opened: mmap.mmap = mapped._mmap  # type: ignore[attr-defined]
    opened.madvise(mmap.MADV_DONTNEED)
    with file.open("rb") as again:
        os.posix_fadvise(again.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def read_bytes() -> int:
    """The bytes that this process has had read from a disk; 0 where the system does not count them."""
    try:
        lines = Path("/proc/self/io").read_text().splitlines()
    except OSError:
        return 0
    return next(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def facts(device: str, precision: str) -> dict[str, object]:
    """The machine and the versions."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "device_name": device,
        "precision": precision,
        "threads": torch.get_num_threads(),
        "system": platform.release(),
        "torch": torch.__version__,
        "onecycle_cli": installed("onecycle-cli"),
    }


if __name__ == "__main__":
    main()
