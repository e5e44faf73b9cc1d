"""Times training on images that are larger than the memory beside resident ones: benchmarks/results/data_sources.csv.

    python benchmarks/data_sources.py --images 200000 --image-size 32
    python benchmarks/data_sources.py --device cuda --images 2000000 --folder /disk

Writes a file of random images, as the cache of decoded images is, and trains on it in turn, an epoch each:

- resident: the images are copied to the memory of the device;
- mapped: the file is memory-mapped, and its pages are in the page cache, as for a set that fits into it;
- mapped, pages dropped: the same, but before the epoch and after every tenth of it, madvise(MADV_DONTNEED) and
  posix_fadvise(POSIX_FADV_DONTNEED) drop the pages, so that no more than a tenth of the set is ever in memory. The
  time of dropping is not counted.

Appends a row for each epoch, with the bytes that the process read from the disk, and prints medians and their ratios.
"""

import argparse
import mmap
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from rows import append, installed

from onecycle_cli.data.augmentation import Augmentation
from onecycle_cli.data.batches import Normalization, TrainBatches
from onecycle_cli.data.images import ImageData, Split
from onecycle_cli.experiments.prepared_recipe import new_trainer
from onecycle_cli.recipe import load, shipped_path, with_values
from onecycle_cli.schedules import LrMomentum
from onecycle_cli.training.hardware import configure_process, resolve_hardware
from onecycle_cli.training.trainer import Trainer

PARTS = 10
"""The parts of an epoch before each of which the pages are dropped."""

CLASSES = 10


def main() -> None:
    """Trains an epoch in each way, several times over."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=200_000)
    parser.add_argument("--image-size", type=int, default=32)
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--architecture", default="resnet8")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--folder", type=Path, help="on the disk to measure; default: that of temporary files")
    asked = parser.parse_args()
    if not hasattr(os, "posix_fadvise"):
        sys.exit("This system cannot drop the pages of a file from its cache.")
    hardware = resolve_hardware(asked.device, asked.precision)
    configure_process(hardware, deterministic=False)
    with tempfile.TemporaryDirectory(dir=asked.folder) as folder:
        file = Path(folder) / "images.npy"
        mapped = written(file, asked.images, asked.image_size)
        trainer = trainer_on(mapped, asked)
        batches = trainer.batches
        resident = replace(batches, images=batches.images.to(hardware.device, copy=True))
        ways: dict[str, tuple[TrainBatches, Callable[[], None]]] = {
            "resident": (resident, lambda: None),
            "mapped": (batches, lambda: None),
            "mapped, pages dropped": (batches, lambda: drop_pages(file, mapped)),
        }
        machine = facts(hardware.name, hardware.precision)
        speeds: dict[str, list[float]] = {way: [] for way in ways}
        for repeat in range(asked.repeats + 1):
            for way, (used, before) in ways.items():
                speed, read = epoch(trainer, used, repeat, before)
                if repeat == 0:
                    continue  # records CUDA graphs, and fills the page cache
                speeds[way].append(speed)
                sizes = {"images": asked.images, "image_size": asked.image_size, "batch_size": asked.batch_size}
                row = {"architecture": asked.architecture, "way": way, "repeat": repeat}
                append("data_sources", row | sizes | {"images_per_second": speed, "read_bytes": read} | machine)
    medians = {way: statistics.median(found) for way, found in speeds.items()}
    for way, median in medians.items():
        print(f"{way}: {median:,.0f} images/s, {median / medians['resident']:.3f} of resident")


def written(file: Path, images: int, size: int) -> "np.memmap[tuple[int, ...], np.dtype[np.uint8]]":
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


def trainer_on(images: "np.memmap[tuple[int, ...], np.dtype[np.uint8]]", asked: argparse.Namespace) -> Trainer:
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


def epoch(trainer: Trainer, batches: TrainBatches, number: int, before_part: Callable[[], None]) -> tuple[float, int]:
    """Trains an epoch; images a second, and the bytes that this process read from the disk."""
    trainer.batches = replace(batches, seed=number)
    steps = trainer.steps(lambda _: LrMomentum(0.01, 0.9))
    ends = np.linspace(0, batches.steps_per_epoch, PARTS + 1).astype(int)
    seconds, read, images = 0.0, 0, 0
    for first, last in pairwise(ends):
        before_part()
        read_before, started = read_bytes(), time.perf_counter()
        for _ in range(first, last):
            images += next(steps).images
        if trainer.hardware.device.type == "cuda":
            torch.cuda.synchronize()
        seconds += time.perf_counter() - started
        read += read_bytes() - read_before
    return images / seconds, read


def drop_pages(file: Path, mapped: "np.memmap[tuple[int, ...], np.dtype[np.uint8]]") -> None:
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
