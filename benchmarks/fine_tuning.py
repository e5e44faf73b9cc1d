"""Fine-tunes ResNet-8 in several ways beside training it from scratch, into benchmarks/results/fine_tuning.csv.

    onecycle train cifar10-resnet8 --max-lr 1 --name cifar10
    python benchmarks/fine_tuning.py runs/cifar10 data/mnist-2000

Each way has its own max_lr, from three range tests, for all its epochs and seeds. The images are a folder; what stands
in their test folder is scored.
"""

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rows import append

COLUMNS = (
    "date",
    "way",
    "images",
    "epochs",
    "seed",
    "max_lr",
    "confidence",
    "valid_accuracy",
    "valid_loss",
    "seconds",
    "options",
    "device_name",
    "threads",
    "precision",
    "torch",
    "onecycle_cli",
)

HEAD_EPOCHS = {1: 0, 3: 1, 10: 2}
"""How many of the epochs train the head alone where the rest follows it; with one epoch there is none to spare."""

PLAIN = {"data.channels": 3, "data.batch_size": 64, "data.horizontal_flip": "false", "data.drop_last": "false"}
"""Beside the recipe's own settings: digits in three channels, unmirrored, some thirty steps an epoch."""


def ways(start: Path, epochs: int) -> dict[str, dict[str, Any]]:
    """The settings of each way to train so many epochs."""
    init = {"model.init": start}
    first = HEAD_EPOCHS[epochs]
    found = {
        "from scratch": {},
        "all of it": init,
        "all of it, [0.1, 1] x max_lr": init | {"schedule.max_lr": "[0.1, 1]"},
        "the head alone": init | {"fine_tune.stages": f"[{{freeze_to: head, epochs: {epochs}}}]"},
    }
    if first:
        stages = f"[{{freeze_to: head, epochs: {first}}}, {{epochs: {epochs - first}}}]"
        found["the head, then all of it"] = init | {"fine_tune.stages": stages}
    return found


def onecycle(*words: object) -> dict[str, Any]:
    """What a command prints with --json; a training that ends no better than chance prints too."""
    command = [sys.executable, "-m", "onecycle_cli", *map(str, words), "--json"]
    return dict(json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=False).stdout))


def main() -> None:
    """Finds a max_lr for each way, then runs one training after another, a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("start", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--epochs", default="1,3,10")
    parser.add_argument("--seeds", default="0,1,2")
    asked = parser.parse_args()
    common = PLAIN | {"data.source": "image_folder", "data.path": asked.images, "data.mean": "null", "data.std": "null"}
    found: dict[str, dict[str, Any]] = {}
    for epochs in map(int, asked.epochs.split(",")):
        for way, settings in ways(asked.start, epochs).items():
            values = common | settings | {"schedule.epochs": epochs}
            words = ["cifar10-resnet8", *(f"--set={name}={value}" for name, value in values.items())]
            if way not in found:
                found[way] = onecycle("find-lr", *words, "--repeats", 3)
            for seed in asked.seeds.split(","):
                summary = onecycle("train", *words, "--seed", seed, "--max-lr-from", found[way]["run"])
                facts = json.loads((Path(summary["run"]) / "run.json").read_text())
                row = {
                    "date": f"{datetime.now(UTC):%Y-%m-%d}",
                    "way": way,
                    "images": asked.images,
                    "seed": seed,
                    "confidence": found[way]["confidence"],
                    "options": " ".join(f"{name}={value}" for name, value in settings.items()),
                    "torch": facts["versions"]["torch"],
                    "onecycle_cli": facts["versions"]["onecycle-cli"],
                }
                append("fine_tuning", {name: (summary | facts | row).get(name) for name in COLUMNS})
                print(f"{epochs} epochs, {way}, seed {seed}: {summary['valid_accuracy']:.4f}", flush=True)


if __name__ == "__main__":
    main()
