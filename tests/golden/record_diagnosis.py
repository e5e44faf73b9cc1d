"""Trains runs with one fault each, and healthy ones, and keeps their curves for the tests of `diagnose`.

Run by hand; it takes about 20 minutes of one core, and goes on where it was stopped:

    OMP_NUM_THREADS=1 python tests/golden/record_diagnosis.py

The runs go to runs/diagnosis/. In tests/golden/diagnosis/, `runs.json` has what each run is (its set, planted fault and
recipe), `epochs.csv` its epochs, and `steps.csv` a dozen of its steps, the last one among them. The rules were
written on the runs of the set "fit" alone; those of "held-out" are of other images and other networks, and judge them.

The images are folders as benchmarks/suggestion/tasks.py makes them, in data/.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, load, shipped_path, to_yaml, with_values
from onecycle_cli.run_dir.files import EPOCHS, STEPS, SUMMARY
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.writing import to_csv
from onecycle_cli.training.hardware import resolve_hardware

GOLDEN = Path(__file__).parent / "diagnosis"
RUNS = Path("runs/diagnosis")
KEPT_STEPS = 12
KEPT_OF_STEPS = ("step", "lr", "train_loss")
KEPT_OF_EPOCHS = ("epoch", "lr", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy")

CIFAR = {"data.source": "image_folder", "data.path": "data/cifar10-5000", "data.valid_fraction": 0.2}
PLAIN = {"data.horizontal_flip": False, "data.random_crop": False}
ADAMW = {"optimizer.name": "adamw", "schedule.max_momentum": 0.95, "schedule.base_momentum": 0.85}


@dataclass(frozen=True)
class Base:
    """What the runs of one kind start from: a healthy training."""

    set: str
    recipe: str
    values: dict[str, Any]


BASES = {
    "cifar": Base(
        "fit",
        "cifar10-resnet8",
        CIFAR
        | {"model.width": 0.5, "data.batch_size": 128, "schedule.epochs": 15, "schedule.max_lr": 0.15}
        | {"optimizer.weight_decay": 1e-3},
    ),
    "digits": Base("fit", "digits", {"schedule.max_lr": 0.15, "seed": 1}),
    "mnist": Base(
        "held-out",
        "mnist-resnet8",
        {"data.path": "data/mnist-2000", "data.valid_fraction": 0.2, "data.batch_size": 64, "seed": 2}
        | {"model.architecture": "resnet9", "model.width": 0.25, "schedule.epochs": 12, "schedule.max_lr": 0.2},
    ),
    "catdog": Base(
        "held-out",
        "cifar10-resnet8",
        CIFAR
        | {"data.path": "data/cifar10-cat-dog-4000", "data.batch_size": 64, "seed": 3, "model.width": 0.5}
        | {"schedule.epochs": 15, "schedule.max_lr": 0.06, "optimizer.weight_decay": 1e-3},
    ),
}

SETS = {"mnist-overfit": "fit"}
"""Runs of another set than their base: this one was held out until it showed what `BY_HEART` should look at."""

PLANNED: dict[str, tuple[str, str, dict[str, Any]]] = {
    # name: fault, base, what is changed
    "cifar-healthy": ("healthy", "cifar", {"schedule.epochs": 40, "model.width": 1}),
    "digits-healthy": ("healthy", "digits", {}),
    "digits-healthy-2": ("healthy", "digits", {"schedule.max_lr": 0.3, "seed": 5}),
    "digits-lr-small": ("lr-too-small", "digits", {"schedule.max_lr": 0.001}),
    "digits-lr-large": ("lr-too-large", "digits", {"schedule.max_lr": 4.0}),
    "digits-lr-huge": ("lr-too-large", "digits", {"schedule.max_lr": 30.0}),
    "digits-few": ("underfitting", "digits", {"schedule.epochs": 2, "schedule.max_lr": 0.1}),
    "digits-overfit": (
        "overfitting",
        "digits",
        PLAIN
        | {"data.valid_fraction": 0.85, "schedule.epochs": 60, "schedule.max_lr": 0.02, "optimizer.weight_decay": 0.0},
    ),
    "digits-decay-large": ("weight-decay-too-large", "digits", {"optimizer.weight_decay": 0.05}),
    "digits-dropout": ("regularization-too-strong", "digits", {"model.dropout": 0.9}),
    "digits-smoothing": ("regularization-too-strong", "digits", {"optimizer.label_smoothing": 0.7}),
    "digits-adamw": ("healthy", "digits", ADAMW | {"schedule.max_lr": 0.01}),
    "cifar-15": ("underfitting", "cifar", {}),
    "cifar-lr-small": ("lr-too-small", "cifar", {"schedule.max_lr": 0.001}),
    "cifar-lr-smallish": ("lr-too-small", "cifar", {"schedule.max_lr": 0.005}),
    "cifar-lr-large": ("lr-too-large", "cifar", {"schedule.max_lr": 2.0}),
    "cifar-lr-huge": ("lr-too-large", "cifar", {"schedule.max_lr": 20.0, "schedule.epochs": 10}),
    "cifar-few": ("underfitting", "cifar", {"schedule.epochs": 4}),
    "cifar-overfit": (
        "overfitting",
        "cifar",
        PLAIN | {"schedule.epochs": 25, "schedule.max_lr": 0.02, "optimizer.weight_decay": 0.0},
    ),
    "cifar-overfit-fast": ("overfitting", "cifar", PLAIN | {"schedule.epochs": 25, "optimizer.weight_decay": 0.0}),
    "cifar-decay-large": ("weight-decay-too-large", "cifar", {"optimizer.weight_decay": 0.05}),
    "cifar-dropout": ("regularization-too-strong", "cifar", {"model.dropout": 0.8}),
    "cifar-smoothing": ("regularization-too-strong", "cifar", {"optimizer.label_smoothing": 0.6}),
    "cifar-momentum-high": (
        "momentum",
        "cifar",
        {"schedule.max_momentum": 0.99, "schedule.base_momentum": 0.99},
    ),
    "cifar-momentum-none": ("momentum", "cifar", {"schedule.max_momentum": 0.0, "schedule.base_momentum": 0.0}),
    "cifar-tail": ("tail-too-long", "cifar", PLAIN | {"schedule.pct_start": 0.2, "schedule.epochs": 25}),
    "digits-diverged": ("lr-too-large", "digits", {"schedule.max_lr": 1000.0}),
    "digits-lr-smallish": ("lr-too-small", "digits", {"schedule.max_lr": 0.004}),
    "digits-long": (
        "cycle-too-long",
        "digits",
        {"schedule.epochs": 60, "schedule.max_lr": 0.02},
    ),
    "digits-tail": ("tail-too-long", "digits", PLAIN | {"schedule.pct_start": 0.15, "schedule.epochs": 30}),
    "cifar-30": ("underfitting", "cifar", {"schedule.epochs": 30}),
    "mnist-healthy": ("healthy", "mnist", {}),
    "mnist-healthy-20": ("healthy", "mnist", {"schedule.max_lr": 0.1, "schedule.epochs": 20, "seed": 7}),
    "mnist-healthy-adamw": ("healthy", "mnist", ADAMW | {"schedule.max_lr": 0.01}),
    "mnist-healthy-fastai": (
        "healthy",
        "mnist",
        {"schedule.shape": "fastai", "schedule.pct_start": 0.25, "schedule.div_factor": 25, "seed": 8},
    ),
    "mnist-healthy-resnet8": (
        "healthy",
        "mnist",
        {"model.architecture": "resnet8", "model.width": 1, "optimizer.nesterov": True, "seed": 9},
    ),
    "mnist-lr-small": ("lr-too-small", "mnist", {"schedule.max_lr": 0.002}),
    "mnist-lr-large": ("lr-too-large", "mnist", {"schedule.max_lr": 6.0}),
    "mnist-lr-huge": ("lr-too-large", "mnist", {"schedule.max_lr": 100.0}),
    "mnist-diverged": ("lr-too-large", "mnist", {"schedule.max_lr": 1000.0}),
    "mnist-few": ("underfitting", "mnist", {"schedule.epochs": 2, "schedule.max_lr": 0.05}),
    "mnist-overfit": (
        "overfitting",
        "mnist",
        PLAIN
        | {"data.valid_fraction": 0.85, "schedule.epochs": 40, "schedule.max_lr": 0.02, "optimizer.weight_decay": 0.0},
    ),
    "mnist-overfit-200": (
        "overfitting",
        "mnist",
        PLAIN
        | {"data.valid_fraction": 0.9, "schedule.epochs": 30, "schedule.max_lr": 0.03, "optimizer.weight_decay": 0.0}
        | {"model.architecture": "resnet8", "model.width": 1, "seed": 11},
    ),
    "mnist-decay-large": ("weight-decay-too-large", "mnist", {"optimizer.weight_decay": 0.05}),
    "mnist-dropout": ("regularization-too-strong", "mnist", {"model.dropout": 0.9}),
    "mnist-smoothing": ("regularization-too-strong", "mnist", {"optimizer.label_smoothing": 0.6}),
    "mnist-tail": ("tail-too-long", "mnist", PLAIN | {"schedule.pct_start": 0.15, "schedule.epochs": 20}),
    "mnist-momentum-high": ("momentum", "mnist", {"schedule.max_momentum": 0.99, "schedule.base_momentum": 0.99}),
    "mnist-momentum-none": ("momentum", "mnist", {"schedule.max_momentum": 0.0, "schedule.base_momentum": 0.0}),
    "catdog-healthy": ("healthy", "catdog", {"schedule.epochs": 40, "model.width": 1}),
    "catdog-lr-small": ("lr-too-small", "catdog", {"schedule.max_lr": 0.0005}),
    "catdog-lr-large": ("lr-too-large", "catdog", {"schedule.max_lr": 1.0}),
    "catdog-few": ("underfitting", "catdog", {"schedule.epochs": 3}),
    "catdog-overfit": (
        "overfitting",
        "catdog",
        PLAIN | {"schedule.epochs": 25, "schedule.max_lr": 0.02, "optimizer.weight_decay": 0.0, "model.width": 1},
    ),
    "catdog-decay-large": ("weight-decay-too-large", "catdog", {"optimizer.weight_decay": 0.1}),
    "catdog-dropout": ("regularization-too-strong", "catdog", {"model.dropout": 0.8}),
    "mnist-long": (
        "cycle-too-long",
        "mnist",
        PLAIN | {"schedule.epochs": 40, "schedule.max_lr": 0.05},
    ),
}


def recipe_of(name: str) -> Recipe:
    """The recipe that a run is trained with."""
    _, base, changes = PLANNED[name]
    return with_values(load(shipped_path(BASES[base].recipe)), BASES[base].values | changes)


def record(name: str) -> None:
    """Trains one run, unless it is there."""
    if (RUNS / name / SUMMARY).is_file():
        return
    recipe, hardware = recipe_of(name), resolve_hardware("cpu", "auto")
    facts = {"precision": hardware.precision}
    run = RunDir.create(
        RUNS, command="train", recipe_name=recipe.name, recipe_yaml=to_yaml(recipe), facts=facts, name=name
    )
    with run.recording():
        summary = train(recipe, Session(run, hardware, silent)).summary
    print(name, *(summary[column] for column in ("status", "train_loss", "valid_loss", "valid_accuracy")), flush=True)


def described(name: str) -> dict[str, Any]:
    """What `runs.json` says of a run."""
    fault, base, changes = PLANNED[name]
    facts = RunDir(RUNS / name).facts
    return {
        "set": SETS.get(name, BASES[base].set),
        "fault": fault,
        "recipe": BASES[base].recipe,
        "values": BASES[base].values | changes,
        "status": facts["status"],
        "train_images": facts["images"]["train"],
        "valid_images": facts["images"]["valid"],
        "classes": len(facts["classes"]),
        "precision": facts["precision"],
        "torch": facts["versions"]["torch"],
    }


def keep() -> None:
    """Writes the three files of the tests from the runs' folders."""
    runs = {name: described(name) for name in PLANNED}
    GOLDEN.mkdir(exist_ok=True)
    (GOLDEN / "runs.json").write_text(json.dumps(runs, indent=1) + "\n")
    epochs, steps = [], []
    for name in PLANNED:
        epochs += [(name, *(row[column] for column in KEPT_OF_EPOCHS)) for row in rows_of(name, EPOCHS)]
        whole = rows_of(name, STEPS)
        thinned = [*whole[: -1 : -(-len(whole) // KEPT_STEPS)], whole[-1]]
        steps += [(name, *(row[column] for column in KEPT_OF_STEPS)) for row in thinned]
    (GOLDEN / "epochs.csv").write_text(to_csv(("run", *KEPT_OF_EPOCHS), epochs))
    (GOLDEN / "steps.csv").write_text(to_csv(("run", *KEPT_OF_STEPS), steps))


def rows_of(name: str, table: str) -> list[dict[str, str]]:
    """The rows of a run's table, each loss to five digits."""
    rows = RunDir(RUNS / name).read_growing_table(table)
    return [{column: short(text) for column, text in row.items()} for row in rows]


def short(text: str) -> str:
    return f"{float(text):.5g}" if "." in text or "e" in text else text


if __name__ == "__main__":
    for planned in PLANNED:
        record(planned)
    keep()
