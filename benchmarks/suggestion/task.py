"""What a task is that suggestions are judged on, and how its recipe differs from a shipped one."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import image_sets

from onecycle_cli.recipe import Recipe, load, with_values

ROOT = Path(__file__).parents[2]
NETWORKS = ROOT / "benchmarks" / "suggestion" / "networks.py"


def lrs(lowest: float, count: int = 9) -> tuple[float, ...]:
    """So many values of max_lr from `lowest` on, a factor of 2.51 (0.4 decades) apart."""
    return tuple(float(f"{lowest * 10 ** (0.4 * k):.3g}") for k in range(count))


SGD_GRID = lrs(10**-2.4)
"""0.00398 to 6.31."""

ADAMW_GRID = lrs(1e-4)
"""0.0001 to 0.158."""

Part = Literal["first", "fitted", "checked", "held out"]


@dataclass(frozen=True)
class Task:
    """A recipe, given by what it changes in a shipped one, and its images.

    `images` takes the folder with the image sets and returns the folder of this task; None: the recipe's own source.
    `part` says what the task was for. The constants of the first rule were chosen on those of "first", the constants of
    the second on these and on "fitted". Those of "checked" were held out from the second rule; what they showed changed
    the typical max_lr of the third, the rule of today. No constant was chosen on those that are "held out".
    `starts_trained`: the network starts from `start_weights`.
    """

    recipe: str
    changes: dict[str, Any] = field(default_factory=dict)
    images: Callable[[Path], Path] | None = None
    grid: tuple[float, ...] = SGD_GRID
    part: Part = "first"
    starts_trained: bool = False
    classes: int = 10

    @property
    def tails(self) -> tuple[float, ...]:
        """Values of max_lr beyond the grid, for what is suggested there; still farther, a network learns nothing."""
        return self.grid[0] / 100, self.grid[0] / 10, 10 * self.grid[-1]

    def resolved(self, data: Path) -> Recipe:
        """The whole recipe; a folder of images, and a trained model, are made below `data` where they are missing."""
        recipe = load(ROOT / "recipes" / f"{self.recipe}.yaml")
        if self.images is not None:
            recipe = with_values(recipe, {"data.source": "image_folder", "data.path": str(self.images(data))})
        if self.starts_trained:
            recipe = with_values(recipe, {"model.init": str(start_weights(data))})
        return with_values(recipe, self.changes)


def start_weights(data: Path) -> Path:
    """The file of a model that was trained on 5,000 images of CIFAR-10, to start from; made if it is missing."""
    from tasks import TASKS

    from onecycle_cli import train

    made = data / "suggestion-start"
    if not (made / "start" / "model.safetensors").exists():
        recipe = with_values(
            TASKS["cifar10-5000-resnet8-128"].resolved(data),
            {"model.width": 0.5, "schedule.max_lr": 0.15, "schedule.epochs": 10},
        )
        train(recipe, runs_dir=made, name="start")
    return made / "start" / "model.safetensors"


def whole_or_subset(name: str, images: int | None = None, classes: tuple[str, ...] = ()) -> Callable[[Path], Path]:
    """A set as it is, or some of its training images with all its test images."""
    return lambda data: image_sets.subset(data / name, images, classes) if images else data / name


def some(name: str, images: int, **how: Any) -> Callable[[Path], Path]:
    """Some images of a set, drawn by `image_sets.some`, whose arguments `how` are."""
    return lambda data: image_sets.some(data / name, images, **how)


def changes(epochs: int, batch_size: int, weight_decay: float, **others: Any) -> dict[str, Any]:
    """The fields that a task changes, by dotted name; in the names of `others`, two underscores stand for a dot."""
    always: dict[str, Any] = {
        "schedule.epochs": epochs,
        "data.batch_size": batch_size,
        "optimizer.weight_decay": weight_decay,
    }
    return always | {name.replace("__", "."): value for name, value in others.items()}


ADAMW = {"optimizer__name": "adamw", "find_lr__start_lr": 1e-5, "find_lr__end_lr": 10.0}
NESTEROV = {"optimizer__nesterov": True}


def image_fields(size: int, channels: int, **others: Any) -> dict[str, Any]:
    """The fields of the format of images; their mean and deviation are computed from the set."""
    fields = {"image_size": size, "channels": channels, "mean": None, "std": None, "padding": size // 8}
    return {f"data__{name}": value for name, value in (fields | others).items()}


def constant_momentum(momentum: float) -> dict[str, Any]:
    """The fields of a momentum that does not cycle."""
    return {"schedule__max_momentum": momentum, "schedule__base_momentum": momentum}


def networks_py(function: str, **arguments: Any) -> dict[str, Any]:
    """The fields of a network in networks.py."""
    # In bfloat16, networks as small as these spend most of the time in casts.
    model = {"source": "module", "function": f"{NETWORKS}:{function}", "arguments": arguments}
    return {"model": model, "runtime__precision": "float32"}


def model_fields(width: float, **others: Any) -> dict[str, Any]:
    """The fields of a network of the package's own family."""
    return {f"model__{name}": value for name, value in ({"width": width} | others).items()}


GREY = {"data__horizontal_flip": False, "data__padding_mode": "zeros"}
"""Digits: a mirrored 2 is not a 2, and the background is black."""
