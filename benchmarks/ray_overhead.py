"""Times a sweep of short cells on a local Ray beside the same sweep with --jobs.

    python benchmarks/ray_overhead.py --cells 20 --workers 2 -- OPTIONS

What stands behind `--` goes to `onecycle sweep` as it is; without it, a cell takes about a second. Both ways take
turns. A row of benchmarks/results/ray_overhead.csv holds the medians: `start_seconds` from the start of the command to
its first cell, with the start of Ray; `seconds` until the command has ended; `ideal_seconds`, the sum of what the
trainings took, over the workers; and `over_ideal` with the start and without it.
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from command import run, words_and_options
from rows import append, installed

SHORT = (
    *("--set", "model.width=0.5", "--set", "runtime.device=cpu", "--set", "runtime.precision=float32"),
    *("--max-lr", "0.1", "--epochs", "4"),
)
"""Digits for four epochs: about a second on one core."""


def main() -> None:
    """Runs both ways in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=20)
    parser.add_argument("--workers", type=int, default=2, help="--jobs; the local Ray has all cores of the machine")
    parser.add_argument("--repeats", type=int, default=3)
    words, options = words_and_options()
    asked = parser.parse_args(words)
    ways: dict[str, tuple[object, ...]] = {"jobs": ("--jobs", asked.workers), "ray": ("--ray=local",)}
    measured: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for _ in range(asked.repeats):
        for way, flags in ways.items():
            measured[way].append(_timed(asked.cells, asked.workers, [*(options or SHORT), *flags]))
            print(way, measured[way][-1], file=sys.stderr, flush=True)
    machine = {
        "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M}",  # one run's rows share it
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "torch": installed("torch"),
        "ray": installed("ray"),
    }
    for way, found in measured.items():
        medians = {name: round(statistics.median(one[name] for one in found), 3) for name in found[0]}
        append(
            "ray_overhead",
            machine | {"way": way, "workers": asked.workers, "cells": asked.cells, "repeats": asked.repeats} | medians,
        )


def _timed(cells: int, workers: int, options: list[object]) -> dict[str, float]:
    """Runs one sweep; what it took, and what its trainings took."""
    with tempfile.TemporaryDirectory() as runs:
        began = time.time()
        decays = ",".join(f"{number + 1}e-5" for number in range(cells))
        run(
            "sweep",
            "digits",
            "--param",
            f"optimizer.weight_decay={decays}",
            *options,
            "--runs-dir",
            runs,
            "--name",
            "s",
        )
        seconds = time.time() - began
        facts = [json.loads(path.read_text()) for path in Path(runs, "s").glob("*/run.json")]
        trained = [json.loads(path.read_text())["seconds"] for path in Path(runs, "s").glob("*/summary.json")]
    first = min(datetime.fromisoformat(one["started"]).timestamp() for one in facts)
    ideal, start = sum(trained) / workers, first - began
    return {
        "cell_seconds": statistics.median(trained),
        "ideal_seconds": ideal,
        "start_seconds": start,
        "seconds": seconds,
        "over_ideal": seconds / ideal,
        "over_ideal_without_start": (seconds - start) / ideal,
    }


def _processor() -> str:
    import torch

    return str(torch.cpu.get_capabilities().get("cpu_name", "")) or platform.processor()


if __name__ == "__main__":
    main()
