"""How every benchmark keeps what it measured."""

import csv
from collections.abc import Mapping
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


def append(name: str, row: Mapping[str, object]) -> None:
    """Appends a row to `results/NAME.csv`; the first row's keys are its header, and all rows have the same."""
    file = RESULTS / f"{name}.csv"
    new = not file.exists()
    with file.open("a", newline="") as opened:
        writer = csv.DictWriter(opened, row)
        if new:
            writer.writeheader()
        writer.writerow(row)
