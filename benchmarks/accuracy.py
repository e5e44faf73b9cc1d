"""Trains a recipe over several seeds and appends what came out to benchmarks/results/accuracy.csv.

    python benchmarks/accuracy.py cifar10-resnet8 --seeds 0,1,2 -- --max-lr 1 --set data.path=data/cifar10

What stands behind `--` goes to `onecycle train` as it is.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

from command import onecycle, told, words_and_options
from rows import append

COLUMNS = (
    "date",
    "recipe",
    "options",
    "seed",
    "max_lr",
    "epochs",
    "valid_accuracy",
    "valid_loss",
    "seconds",
    "device_name",
    "threads",
    "precision",
    "torch",
    "onecycle_cli",
)


def main() -> None:
    """Runs one training after another, a row each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("recipe")
    parser.add_argument("--seeds", default="0,1,2")
    words, options = words_and_options()
    asked = parser.parse_args(words)
    for seed in asked.seeds.split(","):
        summary = onecycle("train", asked.recipe, *options, "--seed", seed)
        facts = json.loads((Path(summary["run"]) / "run.json").read_text())
        row = {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "options": " ".join(options),
            "seed": seed,
            "torch": facts["versions"]["torch"],
            "onecycle_cli": facts["versions"]["onecycle-cli"],
        }
        append("accuracy", {name: (summary | facts | row).get(name) for name in COLUMNS})
        print(f"seed {seed}: {told(summary['valid_accuracy'])} in {summary['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
