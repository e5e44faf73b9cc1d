"""The tasks that suggestions are judged on: recipes that differ in what moves the best max_lr."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from onecycle_cli.recipe import Recipe, load, with_values

ROOT = Path(__file__).parents[2]

SGD_GRID = tuple(float(f"{10 ** (-2.4 + 0.4 * k):.3g}") for k in range(9))
"""0.00398 to 6.31, a factor of 2.51 apart."""

ADAMW_GRID = tuple(float(f"{10 ** (-4 + 0.4 * k):.3g}") for k in range(9))
"""0.0001 to 0.158."""


@dataclass(frozen=True)
class Task:
    """A recipe, given by what it changes in a shipped one, on how many of the training images, of which classes.

    `fitted` is False for those that were added when the constants of the rule were fixed.
    """

    recipe: str
    changes: dict[str, Any] = field(default_factory=dict)
    images: int | None = None
    classes: tuple[str, ...] = ()
    grid: tuple[float, ...] = SGD_GRID
    fitted: bool = True

    def resolved(self, data: Path) -> Recipe:
        """The whole recipe; a folder with the images of a subset is made below `data` where it is not there."""
        recipe = load(ROOT / "recipes" / f"{self.recipe}.yaml")
        if self.recipe != "digits":
            source = data / ("mnist" if self.recipe.startswith("mnist") else "cifar10")
            path = subset(source, self.images, self.classes) if self.images else source
            recipe = with_values(recipe, {"data.source": "image_folder", "data.path": str(path)})
        return with_values(recipe, self.changes)


def _changes(epochs: int, batch_size: int, weight_decay: float, **others: Any) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "schedule.epochs": epochs,
        "data.batch_size": batch_size,
        "optimizer.weight_decay": weight_decay,
    }
    return changes | {name.replace("__", "."): value for name, value in others.items()}


ADAMW = {"optimizer__name": "adamw", "find_lr__start_lr": 1e-5, "find_lr__end_lr": 10.0}
NESTEROV = {"optimizer__nesterov": True}

TASKS = {
    "cifar10-resnet8-512": Task("cifar10-resnet8", _changes(5, 512, 5e-4)),
    "cifar10-10000-resnet20-128": Task("cifar10-resnet20", _changes(5, 128, 5e-4), 10_000),
    "cifar10-10000-resnet8-512": Task("cifar10-resnet8", _changes(5, 512, 0.0), 10_000),
    "cifar10-5000-resnet8-32": Task("cifar10-resnet8", _changes(5, 32, 5e-4), 5_000),
    "cifar10-5000-resnet8-128-long": Task(
        "cifar10-resnet8", _changes(20, 128, 5e-3, model__width=0.5, **NESTEROV), 5_000
    ),
    "cifar10-5000-resnet8-128-adamw": Task("cifar10-resnet8", _changes(5, 128, 5e-3, **ADAMW), 5_000, grid=ADAMW_GRID),
    "cifar10-5000-resnet8-128": Task("cifar10-resnet8", _changes(5, 128, 5e-4), 5_000),
    "cifar10-5000-resnet8-128-constant": Task(
        "cifar10-resnet8",
        _changes(5, 128, 5e-4, schedule__max_momentum=0.9, schedule__base_momentum=0.9),
        5_000,
    ),
    "mnist-2000-resnet8-128": Task("mnist-resnet8", _changes(5, 128, 5e-4), 2_000),
    "mnist-resnet8-512": Task("mnist-resnet8", _changes(2, 512, 5e-4)),
    "mnist-2000-resnet8-32": Task("mnist-resnet8", _changes(5, 32, 5e-4), 2_000),
    "mnist-2000-resnet9-128": Task(
        "mnist-resnet8", _changes(5, 128, 5e-4, model__architecture="resnet9", model__width=0.25, **NESTEROV), 2_000
    ),
    "mnist-2000-resnet8-128-adamw-long": Task(
        "mnist-resnet8", _changes(20, 128, 5e-4, **ADAMW), 2_000, grid=ADAMW_GRID
    ),
    "cats-and-dogs-resnet8-64": Task("cifar10-resnet8", _changes(5, 64, 1e-3), 4_000, classes=("cat", "dog")),
    "mnist-2000-resnet20-64-smoothed": Task(
        "mnist-resnet8",
        _changes(5, 64, 1e-4, model__architecture="resnet20", optimizer__label_smoothing=0.1, model__dropout=0.1),
        2_000,
        fitted=False,
    ),
    "digits-resnet8-64": Task("digits", _changes(15, 64, 1e-4)),
}


def subset(source: Path, images: int, classes: tuple[str, ...] = ()) -> Path:
    """A folder with so many of the training images in `source`, the same share of each class, and all its test images.

    Drawn once and for all with a fixed seed; the files are hard links. `classes` names those that are kept.
    """
    target = source.with_name("-".join([source.name, *classes, str(images)]))
    if target.exists():
        return target
    beside = source.with_name(f".{target.name}-{os.getpid()}")
    kept = classes or sorted(folder.name for folder in (source / "train").iterdir() if folder.is_dir())
    for number, name in enumerate(kept):
        files = sorted((source / "train" / name).iterdir())
        drawn = np.random.default_rng(number).choice(len(files), images // len(kept), replace=False)
        (beside / "train" / name).mkdir(parents=True)
        for index in drawn:
            os.link(files[index], beside / "train" / name / files[index].name)
        shutil.copytree(source / "test" / name, beside / "test" / name, copy_function=os.link)
    beside.replace(target)
    return target
