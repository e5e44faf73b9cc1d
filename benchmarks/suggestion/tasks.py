"""The tasks that suggestions are judged on: recipes that differ in what moves the best max_lr."""

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

Part = Literal["first", "fitted", "held out"]


@dataclass(frozen=True)
class Task:
    """A recipe, given by what it changes in a shipped one, and its images.

    `images` takes the folder with the image sets and returns the folder of this task; None: the recipe's own source.
    `part` says what the task was for: the constants of the first rule were chosen on those of "first", the constants of
    the rule of today on these and on "fitted"; on those that were held out, no constant was chosen.
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
    from onecycle_cli import train

    made = data / "suggestion-start"
    if not (made / "start" / "model.safetensors").exists():
        recipe = with_values(
            TASKS["cifar10-5000-resnet8-128"].resolved(data),
            {"model.width": 0.5, "schedule.max_lr": 0.15, "schedule.epochs": 10},
        )
        train(recipe, runs_dir=made, name="start")
    return made / "start" / "model.safetensors"


def _of(name: str, images: int | None = None, classes: tuple[str, ...] = ()) -> Callable[[Path], Path]:
    """A set as it is, or some of its training images with all its test images."""
    return lambda data: image_sets.subset(data / name, images, classes) if images else data / name


def _some(name: str, images: int, **how: Any) -> Callable[[Path], Path]:
    return lambda data: image_sets.some(data / name, images, **how)


def _changes(epochs: int, batch_size: int, weight_decay: float, **others: Any) -> dict[str, Any]:
    changes: dict[str, Any] = {
        "schedule.epochs": epochs,
        "data.batch_size": batch_size,
        "optimizer.weight_decay": weight_decay,
    }
    return changes | {name.replace("__", "."): value for name, value in others.items()}


ADAMW = {"optimizer__name": "adamw", "find_lr__start_lr": 1e-5, "find_lr__end_lr": 10.0}
NESTEROV = {"optimizer__nesterov": True}

FIRST = {
    "cifar10-resnet8-512": Task("cifar10-resnet8", _changes(5, 512, 5e-4), _of("cifar10")),
    "cifar10-10000-resnet20-128": Task("cifar10-resnet20", _changes(5, 128, 5e-4), _of("cifar10", 10_000)),
    "cifar10-10000-resnet8-512": Task("cifar10-resnet8", _changes(5, 512, 0.0), _of("cifar10", 10_000)),
    "cifar10-5000-resnet8-32": Task("cifar10-resnet8", _changes(5, 32, 5e-4), _of("cifar10", 5_000)),
    "cifar10-5000-resnet8-128-long": Task(
        "cifar10-resnet8", _changes(20, 128, 5e-3, model__width=0.5, **NESTEROV), _of("cifar10", 5_000)
    ),
    "cifar10-5000-resnet8-128-adamw": Task(
        "cifar10-resnet8", _changes(5, 128, 5e-3, **ADAMW), _of("cifar10", 5_000), ADAMW_GRID
    ),
    "cifar10-5000-resnet8-128": Task("cifar10-resnet8", _changes(5, 128, 5e-4), _of("cifar10", 5_000)),
    "cifar10-5000-resnet8-128-constant": Task(
        "cifar10-resnet8",
        _changes(5, 128, 5e-4, schedule__max_momentum=0.9, schedule__base_momentum=0.9),
        _of("cifar10", 5_000),
    ),
    "mnist-2000-resnet8-128": Task("mnist-resnet8", _changes(5, 128, 5e-4), _of("mnist", 2_000)),
    "mnist-resnet8-512": Task("mnist-resnet8", _changes(2, 512, 5e-4), _of("mnist")),
    "mnist-2000-resnet8-32": Task("mnist-resnet8", _changes(5, 32, 5e-4), _of("mnist", 2_000)),
    "mnist-2000-resnet9-128": Task(
        "mnist-resnet8",
        _changes(5, 128, 5e-4, model__architecture="resnet9", model__width=0.25, **NESTEROV),
        _of("mnist", 2_000),
    ),
    "mnist-2000-resnet8-128-adamw-long": Task(
        "mnist-resnet8", _changes(20, 128, 5e-4, **ADAMW), _of("mnist", 2_000), ADAMW_GRID
    ),
    "cats-and-dogs-resnet8-64": Task(
        "cifar10-resnet8", _changes(5, 64, 1e-3), _of("cifar10", 4_000, ("cat", "dog")), classes=2
    ),
    "mnist-2000-resnet20-64-smoothed": Task(
        "mnist-resnet8",
        _changes(5, 64, 1e-4, model__architecture="resnet20", optimizer__label_smoothing=0.1, model__dropout=0.1),
        _of("mnist", 2_000),
    ),
    "digits-resnet8-64": Task("digits", _changes(15, 64, 1e-4)),
}


def _images(size: int, channels: int, **others: Any) -> dict[str, Any]:
    """The fields of a set's image format; its mean and deviation are computed from it."""
    fields = {"image_size": size, "channels": channels, "mean": None, "std": None, "padding": size // 8}
    return {f"data__{name}": value for name, value in (fields | others).items()}


def _constant(momentum: float) -> dict[str, Any]:
    return {"schedule__max_momentum": momentum, "schedule__base_momentum": momentum}


def _own(function: str, **arguments: Any) -> dict[str, Any]:
    # In bfloat16, networks as small as these spend most of the time in casts.
    model = {"source": "module", "function": f"{NETWORKS}:{function}", "arguments": arguments}
    return {"model": model, "runtime__precision": "float32"}


def _resnet8(width: float, **others: Any) -> dict[str, Any]:
    return {f"model__{name}": value for name, value in ({"width": width} | others).items()}


GREY = {"data__horizontal_flip": False, "data__padding_mode": "zeros"}
"""Digits: a mirrored 2 is not a 2, and the background is black."""

FITTED = {
    "mnist-2000-mlp-8-long": Task(
        "cifar10-resnet8",
        _changes(20, 8, 0.0, **_images(28, 1), **GREY, **_own("mlp", image_size=28), **_constant(0.0)),
        _some("mnist", 2_000),
        part="fitted",
    ),
    "mnist-mlp-2048": Task(
        "cifar10-resnet8",
        _changes(2, 2048, 5e-4, **_images(28, 1), **GREY, **_own("mlp", image_size=28)),
        _some("mnist", 60_000),
        part="fitted",
    ),
    "cifar10-2000-cnn-without-norm-64": Task(
        "cifar10-resnet8",
        _changes(8, 64, 5e-4, **_images(16, 3), **_resnet8(0.5, architecture="cnn", norm="none"), **_constant(0.9)),
        _some("cifar10", 2_000),
        lrs(10**-3.6),
        part="fitted",
    ),
    "cifar10-2000-vit-64-adamw": Task(
        "cifar10-resnet8",
        _changes(10, 64, 0.1, **_images(16, 3), **_own("vit", image_size=16), **ADAMW),
        _some("cifar10", 2_000),
        lrs(10**-4.4),
        part="fitted",
    ),
    "sign-digits-resnet8-group-norm-32": Task(
        "cifar10-resnet8",
        _changes(5, 32, 5e-4, **_images(16, 3), **_resnet8(0.5, norm="group")),
        _of("sign-digits"),
        part="fitted",
    ),
    "clothing-resnet8-64-pixels-32-nesterov": Task(
        "cifar10-resnet8",
        _changes(1, 32, 5e-4, **_images(64, 3), **_resnet8(0.25), **NESTEROV),
        _some("clothing", 1_500),
        part="fitted",
    ),
    "trash-cnn-32-adamw": Task(
        "cifar10-resnet8",
        _changes(4, 32, 1e-2, **_images(32, 3), **_resnet8(0.5, architecture="cnn"), **ADAMW),
        _of("trash"),
        ADAMW_GRID,
        part="fitted",
        classes=6,
    ),
    "cifar10-rotated-4000-resnet8-256": Task(
        "cifar10-resnet8",
        _changes(8, 256, 5e-4, **_images(16, 3, horizontal_flip=False), **_resnet8(0.5)),
        lambda data: image_sets.rotated(data / "cifar10", 4_000),
        part="fitted",
        classes=40,
    ),
    "sign-digits-fine-tuned-64": Task(
        "cifar10-resnet8",
        _changes(4, 64, 5e-4, **_images(32, 3), **_resnet8(0.5)),
        _of("sign-digits"),
        part="fitted",
        starts_trained=True,
    ),
    "cats-and-dogs-2000-mixup-64": Task(
        "cifar10-resnet8",
        _changes(6, 64, 5e-4, **_images(16, 3), **_resnet8(1), augmentation={"mixup": 0.2})
        | {"optimizer.label_smoothing": 0.1},
        _some("cifar10", 2_000, classes=("cat", "dog")),
        part="fitted",
        classes=2,
    ),
    "cifar10-2000-cnn-unnormalized-32": Task(
        "cifar10-resnet8",
        _changes(
            5,
            32,
            0.0,
            **_images(16, 3, mean=[0.0] * 3, std=[1 / 255] * 3),
            **_resnet8(0.5, architecture="cnn", norm="none"),
            **_constant(0.0),
            find_lr__start_lr=1e-6,
            find_lr__end_lr=1.0,
        ),
        _some("cifar10", 2_000),
        lrs(10**-5.6),
        part="fitted",
    ),
    "cifar10-2000-wrong-labels-resnet20-64": Task(
        "cifar10-resnet20",
        _changes(6, 64, 5e-4, **_images(16, 3), **_resnet8(0.5)),
        lambda data: image_sets.with_wrong_labels(image_sets.some(data / "cifar10", 2_000), 0.3),
        part="fitted",
    ),
}

HELD_OUT = {
    "mnist-pairs-4000-resnet8-256": Task(
        "cifar10-resnet8",
        _changes(8, 256, 5e-4, **_images(20, 1, resize="squash", padding=2), **GREY, **_resnet8(0.5)),
        lambda data: image_sets.pairs(data / "mnist", 4_000),
        part="held out",
        classes=100,
    ),
    "cifar10-rotated-4000-resnet8-64-adamw": Task(
        "cifar10-resnet8",
        _changes(6, 64, 1e-2, **_images(16, 3, horizontal_flip=False), **_resnet8(0.5), **ADAMW),
        lambda data: image_sets.rotated(data / "cifar10", 4_000),
        ADAMW_GRID,
        part="held out",
        classes=40,
    ),
    "cifar10-and-mnist-3000-vit-32-adamw": Task(
        "cifar10-resnet8",
        _changes(4, 32, 0.05, **_images(16, 3, horizontal_flip=False), **_own("vit", image_size=16), **ADAMW),
        lambda data: image_sets.joined(data / "cifar10", data / "mnist", 3_000),
        lrs(10**-4.4),
        part="held out",
        classes=20,
    ),
    "mnist-2000-wrong-labels-mlp-16": Task(
        "cifar10-resnet8",
        _changes(8, 16, 5e-4, **_images(28, 1), **GREY, **_own("mlp", image_size=28), **_constant(0.9)),
        lambda data: image_sets.with_wrong_labels(image_sets.some(data / "mnist", 2_000), 0.3),
        lrs(10**-3.6),
        part="held out",
    ),
    "clothing-convnext-32-adamw": Task(
        "cifar10-resnet8",
        _changes(2, 32, 0.05, **_images(32, 3), model={"source": "timm", "architecture": "test_convnext"}, **ADAMW),
        _of("clothing"),
        ADAMW_GRID,
        part="held out",
    ),
    "trash-efficientnet-32": Task(
        "cifar10-resnet8",
        _changes(3, 32, 1e-4, **_images(32, 3), model={"source": "timm", "architecture": "test_efficientnet"}),
        _of("trash"),
        part="held out",
        classes=6,
    ),
    "fours-and-nines-1000-cnn-16-nesterov": Task(
        "cifar10-resnet8",
        _changes(
            4,
            16,
            0.0,
            **_images(28, 1),
            **GREY,
            **_resnet8(0.25, architecture="cnn", norm="none"),
            **NESTEROV,
            **_constant(0.9),
        ),
        _some("mnist", 1_000, classes=("4", "9")),
        lrs(10**-3.6),
        part="held out",
        classes=2,
    ),
    "sign-digits-resnet8-8": Task(
        "cifar10-resnet8",
        _changes(2, 8, 5e-3, **_images(24, 3), **_resnet8(0.5)),
        _of("sign-digits"),
        lrs(10**-3.2),
        part="held out",
    ),
    "trash-head-alone-32": Task(
        "cifar10-resnet8",
        _changes(
            4, 32, 0.0, **_images(32, 3), **_resnet8(0.5), fine_tune={"stages": [{"freeze_to": "head", "epochs": 4}]}
        ),
        _of("trash"),
        lrs(10**-2.8),
        part="held out",
        starts_trained=True,
        classes=6,
    ),
    "clothing-unequal-fine-tuned-discriminative-64": Task(
        "cifar10-resnet8",
        _changes(5, 64, 5e-4, **_images(32, 3), **_resnet8(0.5), schedule__max_lr=[0.01, 0.1]),
        _some("clothing", 2_000, unequal=0.7),
        part="held out",
        starts_trained=True,
    ),
    "cifar10-5000-resnet8-wide-1024": Task(
        "cifar10-resnet8",
        _changes(10, 1024, 5e-4, **_images(12, 3, padding=1), **_resnet8(2)),
        _some("cifar10", 5_000),
        part="held out",
    ),
    "mnist-resnet8-512-small": Task(
        "cifar10-resnet8",
        _changes(1, 512, 5e-4, **_images(14, 1, padding=1), **GREY, **_resnet8(0.25)),
        _some("mnist", 60_000),
        part="held out",
    ),
    "digits-vit-32": Task(
        "digits",
        _changes(6, 32, 5e-4, **_own("vit", image_size=8, patch=2, width=32), **_constant(0.9)),
        grid=SGD_GRID,
        part="held out",
    ),
}

TASKS = FIRST | FITTED | HELD_OUT
