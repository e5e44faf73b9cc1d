"""Fine-tunes ResNet-8 in several ways beside training it from scratch, into benchmarks/results/fine_tuning.csv.

    onecycle train cifar10-resnet8 --max-lr 1 --name cifar10
    python benchmarks/fine_tuning.py runs/cifar10 data/mnist-2000

Each way has its own max_lr, from three range tests, for all its epochs and seeds. The images are a folder; what stands
in their test folder is scored. What stands behind `--` goes to `onecycle` as it is.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from command import onecycle, told, words_and_options
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

PLAIN = {"data.channels": 3, "data.batch_size": 64, "data.horizontal_flip": "false", "data.drop_last": "false"}
"""Beside the recipe's own settings: digits in three channels, unmirrored, some thirty steps an epoch."""


def ways(start: Path, epochs: int) -> dict[str, dict[str, Any]]:
    """The settings of each way to train for `epochs` epochs."""
    init = {"model.init": start}
    first = round(epochs / 5)  # epochs of the head alone before the rest: none of 1, 1 of 3, 2 of 10
    found: dict[str, dict[str, Any]] = {
        "from scratch": {},
        "all of it": init,
        "all of it, [0.1, 1] x max_lr": init | {"schedule.max_lr": "[0.1, 1]"},
        "the head alone": init | {"fine_tune.stages": f"[{{freeze_to: head, epochs: {epochs}}}]"},
    }
    if first:
        stages = f"[{{freeze_to: head, epochs: {first}}}, {{epochs: {epochs - first}}}]"
        found["the head, then all of it"] = init | {"fine_tune.stages": stages}
    return found


def main() -> None:
    """Finds a max_lr for each way, then runs one training after another, a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("start", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--epochs", default="1,3,10")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--way", choices=ways(Path(), 10), action="append", help="repeatable; default: all")
    own, options = words_and_options()
    asked = parser.parse_args(own)
    common = PLAIN | {"data.source": "image_folder", "data.path": asked.images, "data.mean": "null", "data.std": "null"}
    found: dict[str, dict[str, Any]] = {}
    for epochs in map(int, asked.epochs.split(",")):
        for way, settings in ways(asked.start, epochs).items():
            if asked.way and way not in asked.way:
                continue
            values = common | settings | {"schedule.epochs": epochs}
            words = ["cifar10-resnet8", *(f"--set={name}={value}" for name, value in values.items()), *options]
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
                print(f"{epochs} epochs, {way}, seed {seed}: {told(summary['valid_accuracy'])}", flush=True)


if __name__ == "__main__":
    main()
