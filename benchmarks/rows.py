"""Where every benchmark keeps what it measured: one CSV file per benchmark."""

import csv
import os
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

COMMITTED = Path(__file__).parent / "results"


def results() -> Path:
    """The folder of the CSV files; ONECYCLE_BENCHMARK_RESULTS names another one, for a trial that is not to be kept."""
    return Path(os.environ.get("ONECYCLE_BENCHMARK_RESULTS", COMMITTED))


def csv_file(name: str) -> Path:
    """The CSV file of a benchmark, such as `speed` or `suggestion/truth`; its folder is made if it is missing."""
    file = results() / f"{name}.csv"
    file.parent.mkdir(parents=True, exist_ok=True)
    return file


def append(name: str, *rows: Mapping[str, object]) -> None:
    """Appends rows to the CSV file `name`; the keys of the first row are its header, and all rows have the same."""
    with csv_file(name).open("a", newline="") as opened:
        writer = csv.DictWriter(opened, rows[0])
        if opened.tell() == 0:
            writer.writeheader()
        writer.writerows(rows)


def installed(package: str) -> str | None:
    """The version of an installed package; None if it is missing."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
