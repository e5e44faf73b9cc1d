"""Runs `onecycle reproduce`, and appends its tables to results/reproduce.csv and results/reproduce_order.csv.

    python benchmarks/reproduce.py E1 E2 E3 E4 -- --scale 0.04 --jobs 2 --set data.path=data/cifar10

What stands behind `--` goes to `onecycle reproduce` as it is. It goes on where it was stopped.
"""

import argparse
import json
from datetime import UTC, datetime
from pathlib import Path

from command import onecycle, words_and_options
from rows import append


def main() -> None:
    """Runs the command, and keeps what its summary says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*")
    words, options = words_and_options()
    experiments = parser.parse_args(words).experiments
    found = onecycle("reproduce", *experiments, *options)
    facts = json.loads((Path(found["run"]) / "run.json").read_text())
    measured = {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "scale": found["scale"],
        "device_name": facts["device_name"],
        "precision": facts["precision"],
        "torch": facts["versions"]["torch"],
        "onecycle_cli": facts["versions"]["onecycle-cli"],
    }
    append("reproduce", *(measured | row for row in found["experiments"]))
    if found["orders"]:
        append("reproduce_order", *(measured | row for row in found["orders"]))
    print(found["verdict"])


if __name__ == "__main__":
    main()
