"""Whether two checkouts give the same results to the bit: find-lr, train and sweep-wd on the embedded digits.

    git worktree add ../before main~20
    python benchmarks/same_results.py ../before

Runs the three commands from both checkouts in a temporary folder, and compares the files of their runs byte by byte.
Times, places and sentences are left out: `run.json`, the columns of seconds in epochs.csv, and seconds, paths and
reasons in summaries. Figures and recipes are not compared. Prints a line per file, and exits with 1 if one differs.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

HERE = Path(__file__).parent.parent

COMMANDS = {
    "found": ("find-lr", "digits"),
    "trained": ("train", "digits", "--max-lr-from", "found"),
    "auto": ("train", "digits", "--max-lr", "auto", "--epochs", "3", "--seed", "1"),
    "swept": ("sweep-wd", "digits", "--weight-decays", "1e-3,1e-4"),
}
"""The runs that are compared, by their names."""

NO_RESULTS = ("seconds", "images_per_second", "reason", "text", "advice", "sha256")
"""The columns and keys that are no results: times, sentences, whose wording may change, and the checksums of both."""


def main() -> None:
    """Runs both, and compares."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--set", dest="settings", action="append", default=[], metavar="FIELD=VALUE")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [
            run_all(checkout.resolve(), Path(folder) / name, asked.settings)
            for name, checkout in (("before", asked.before), ("after", HERE))
        ]
        differing = compare(*runs)
    if differing:
        sys.exit(f"{differing} files differ.")


def run_all(checkout: Path, runs: Path, settings: list[str]) -> Path:
    """Runs the commands of a checkout in the folder `runs`, and gives it."""
    words = [word for setting in settings for word in ("--set", setting)]
    for name, command in COMMANDS.items():
        subprocess.run(
            [
                sys.executable,
                "-m",
                "onecycle_cli",
                *command,
                *words,
                "--name",
                name,
                "--runs-dir",
                str(runs),
                "--quiet",
            ],
            cwd=checkout,  # `python -m` imports from the current folder first
            env=os.environ | {"PYTHONPATH": str(checkout)},
            stdout=subprocess.DEVNULL,
            check=True,
        )
    return runs


def compare(before: Path, after: Path) -> int:
    """Prints for each file whether it is the same in both folders; the number of those that are not."""
    names = sorted(
        {str(path.relative_to(runs)) for runs in (before, after) for path in runs.rglob("*") if path.is_file()}
    )
    differing = 0
    for name in names:
        read = READERS.get(Path(name).suffix)
        if read is None or Path(name).name in ("run.json", ".lock"):
            continue
        one, other = before / name, after / name
        same = one.is_file() and other.is_file() and read(one, before) == read(other, after)
        differing += not same
        print(f"{'same' if same else 'DIFFERS'}  {name}", flush=True)
    return differing


def _csv(path: Path, _: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return [{name: cell for name, cell in row.items() if name not in NO_RESULTS} for row in csv.DictReader(file)]


def _json(path: Path, runs: Path) -> Any:
    return _results(json.loads(path.read_text().replace(str(runs), "runs")))


def _results(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _results(inner) for name, inner in value.items() if name not in NO_RESULTS}
    return [_results(inner) for inner in value] if isinstance(value, list) else value


def _weights(path: Path, _: Path) -> dict[str, bytes]:
    return {name: tensor.tobytes() for name, tensor in load_file(path).items()}


READERS: dict[str, Callable[[Path, Path], Any]] = {
    ".csv": _csv,
    ".json": _json,
    ".safetensors": _weights,
    ".npy": lambda path, _: path.read_bytes(),
}
"""How a file is read to be compared, by the end of its name."""


if __name__ == "__main__":
    main()
