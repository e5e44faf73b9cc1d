"""Runs the sweeps of docs/sweeps.md and appends each of their cells to benchmarks/results/sweeps.csv.

    python benchmarks/sweeps.py momentum

The images are folders: data/cifar10, and data/cifar10-5000 with 500 training images of each class. A sweep that was
interrupted goes on. What stands behind `--` goes to `onecycle sweep` as it is.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

import pandas as pd
from command import run, words_and_options
from rows import append

from onecycle_cli.recipe.grid import folder_name

SMALL = ("--set", "data.source=image_folder", "--set", "data.path=data/cifar10-5000", "--batch-size", "128")
TENTH = ("--set", "model.architecture=resnet20", "--epochs", "10")

SWEEPS = {
    "momentum": ("cifar10-resnet8", *SMALL, "--epochs", "10", "--preset", "momentum", "--seeds", "3"),
    "batch-size": ("cifar10-resnet8", *SMALL, "--epochs", "10", "--preset", "batch-size"),
    "tail": (
        *("cifar10-resnet56", "--set", "data.source=image_folder", "--set", "data.path=data/cifar10", *TENTH),
        *("--param", "schedule.pct_start=0.4316,0.25", "--seeds", "3"),
    ),
}
"""The words of each sweep. `tail` is the blog's long cycle against its long tail, at a tenth of their length."""

RESULTS = ("seed", "status", "max_lr", "epochs", "train_loss", "valid_loss", "valid_accuracy")


def main() -> None:
    """Runs the sweeps that are named, and keeps their cells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", choices=SWEEPS)
    words, options = words_and_options()
    for name in parser.parse_args(words).names:
        folder = Path("runs") / f"benchmark-{name}"
        print(run("sweep", *SWEEPS[name], *options, "--runs-dir", folder.parent, "--name", folder.name), flush=True)
        keep(name, folder)


def keep(name: str, folder: Path) -> None:
    """Appends a row for each cell of the sweep in `folder`, with its machine."""
    fields = [field.rpartition(".")[2] for field in json.loads((folder / "sweep.json").read_text())["fields"]]
    for row in pd.read_csv(folder / "sweep.csv").to_dict("records"):
        values = {field: row[field] for field in fields}
        cell = json.loads((folder / folder_name(values | {"seed": row["seed"]}) / "run.json").read_text())
        append(
            "sweeps",
            {
                "date": f"{datetime.now(UTC):%Y-%m-%d}",
                "sweep": name,
                "recipe": SWEEPS[name][0],
                "values": ", ".join(f"{field} {value:g}" for field, value in values.items()),
                **{column: row[column] for column in RESULTS},
                "seconds": cell["seconds"],
                **{fact: cell[fact] for fact in ("device_name", "threads", "precision")},
                "torch": cell["versions"]["torch"],
                "onecycle_cli": cell["versions"]["onecycle-cli"],
            },
        )


if __name__ == "__main__":
    main()
