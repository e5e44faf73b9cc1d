"""Trains a recipe over several seeds and appends what came out to benchmarks/results/accuracy.csv.

    python benchmarks/accuracy.py cifar10-resnet8 --seeds 0,1,2 -- --max-lr 1 --set data.path=data/cifar10

What stands behind `--` goes to `onecycle train` as it is.
"""

import argparse
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

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
    # argparse alone takes what stands behind `--` for arguments of its own in some versions of Python, not in others.
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options = sys.argv[end + 1 :]
    asked = parser.parse_args(sys.argv[1:end])
    for seed in asked.seeds.split(","):
        words = ["train", asked.recipe, *options, "--seed", seed, "--json"]
        done = subprocess.run([sys.executable, "-m", "onecycle_cli", *words], stdout=subprocess.PIPE, check=True)
        summary = json.loads(done.stdout)
        facts = json.loads((Path(summary["run"]) / "run.json").read_text())
        row = {
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
            "options": " ".join(options),
            "seed": seed,
            "torch": facts["versions"]["torch"],
            "onecycle_cli": facts["versions"]["onecycle-cli"],
        }
        append("accuracy", {name: (summary | facts | row).get(name) for name in COLUMNS})
        print(f"seed {seed}: {summary['valid_accuracy']:.4f} in {summary['seconds']:.0f} s")


if __name__ == "__main__":
    main()
