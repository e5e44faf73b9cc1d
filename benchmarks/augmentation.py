"""Times each augmentation beside none on this machine's CPU: python benchmarks/augmentation.py data/cifar10.

For each one: images a second when a batch is made (draws, crop, flip, augmentation, normalization), and the time that
it adds, as a share of a training step of ResNet-20 in float32 without it. All take their turn in each repeat, in one
process. Appends their medians to benchmarks/results/augmentation.csv.
"""

import argparse
import platform
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import torch
from rows import append, installed

from onecycle_cli.data.batches import Batch, Normalization, TrainBatches
from onecycle_cli.experiments.recipe_images import open_recipe_data
from onecycle_cli.experiments.train_batches import train_batches
from onecycle_cli.experiments.trainers import new_trainer
from onecycle_cli.recipe import Recipe
from onecycle_cli.recipe.from_python import load_recipe
from onecycle_cli.schedules import LrMomentum
from onecycle_cli.training.hardware import Hardware, configure_process
from onecycle_cli.training.trainer import Step

AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "random_resized_crop": {"data.random_crop": False, "augmentation.random_resized_crop": {}},
    "affine": {"augmentation.affine": {"degrees": 15.0, "translate": 0.1, "scale": [0.9, 1.1], "shear": 5.0}},
    "trivial_augment": {"augmentation.trivial_augment": True},
    "color_jitter": {"augmentation.color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4}},
    "color_jitter with hue": {
        "augmentation.color_jitter": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1}
    },
    "random_erasing": {"augmentation.random_erasing": {}},
    "mixup": {"augmentation.mixup": 0.2},
    "cutmix": {"augmentation.cutmix": 1.0},
    "preset light": {"augmentation": "light"},
    "preset standard": {"augmentation": "standard"},
    "preset strong": {"augmentation": "strong"},
}


def main() -> None:
    """Times all augmentations in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--batches", type=int, default=5, help="batches in each repeat")
    parser.add_argument("--batch-size", type=int, default=512)
    parser.add_argument("--augmentation", choices=AUGMENTATIONS, action="append", help="repeatable; default: all")
    asked = parser.parse_args()
    names = list(dict.fromkeys(["none", *(asked.augmentation or AUGMENTATIONS)]))
    base = {"data.source": "image_folder", "data.path": str(asked.data), "data.batch_size": asked.batch_size}
    recipes = {name: load_recipe("cifar10-resnet20", base | AUGMENTATIONS[name]) for name in names}
    hardware = Hardware(torch.device("cpu"), "float32")
    configure_process(hardware, deterministic=False)
    data = open_recipe_data(recipes["none"], lambda news: print(news, file=sys.stderr))
    normalization = Normalization.of(data.mean, data.std, hardware.device)

    def batches_of(recipe: Recipe) -> TrainBatches:
        images, labels = (torch.from_numpy(array) for array in (data.train.images, data.train.labels))
        return train_batches(recipe, images, labels, normalization, data.train.labels)

    sources = {name: batches_of(recipe) for name, recipe in recipes.items()}
    made = {name: map(source.batch, source.drawn(0)) for name, source in sources.items()}
    trainer = new_trainer(recipes["none"], data, None, sources["none"], hardware, print)
    steps = trainer.steps(lambda _: LrMomentum(0.01, 0.9))
    batch_seconds: dict[str, list[float]] = {name: [] for name in names}
    step_seconds: list[float] = []
    for repeat in range(asked.repeats + 1):  # the first one is a warm-up
        step = _timed(steps, 1)
        timed = {name: _timed(made[name], asked.batches) for name in names}
        if repeat:
            step_seconds.append(step)
            for name in names:
                batch_seconds[name].append(timed[name])
    machine = {
        "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M}",  # one run's rows share it
        "processor": str(torch.cpu.get_capabilities().get("cpu_name", "")) or platform.processor(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": installed("torch"),
        "onecycle-cli": installed("onecycle-cli"),
    }
    whole, alone = median(step_seconds), median(batch_seconds["none"])
    for name in names:
        batch = median(batch_seconds[name])
        row = {
            "augmentation": name,
            "images_per_second": asked.batch_size / batch,
            "added_share_of_a_step": (batch - alone) / whole,
            "step_milliseconds": 1000 * whole,
            "batch_size": asked.batch_size,
            "repeats": asked.repeats,
        }
        append("augmentation", row | machine)
        print(f"{name}: {row}", file=sys.stderr)


def _timed(results: Iterator[Batch] | Iterator[Step], number: int) -> float:
    """Returns the mean seconds of the next results."""
    started = perf_counter()
    for _ in islice(results, number):
        pass
    return (perf_counter() - started) / number


if __name__ == "__main__":
    main()
