"""Times trainings that run side by side on one machine.

    python benchmarks/side_by_side.py --counts 1,2,4 -- digits --max-lr 0.15

What stands behind `--` goes to `onecycle train` as it is. Each count of processes takes its turn, several times over;
the processes of a count start at once. A row of benchmarks/results/side_by_side.csv holds the median of the seconds
until the last of them has ended, and `over_in_turn`: these over what as many trainings one after another would take.
With `--package FOLDER` another checkout of the package is timed in the same run too, alternating, as "before".
"""

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from command import ROOT, words_and_options
from rows import append, installed


def main() -> None:
    """Runs every count of processes in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default="1,2,4", help="processes side by side; 1 is always measured")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--package", type=Path, help="another checkout, to be timed beside this one")
    words, options = words_and_options()
    asked = parser.parse_args(words)
    counts = sorted({1, *map(int, asked.counts.split(","))})
    packages = {"now": ROOT} | ({"before": asked.package} if asked.package else {})
    seconds: dict[tuple[str, int], list[float]] = {(name, count): [] for name in packages for count in counts}
    for _ in range(asked.repeats):
        for name, count in seconds:
            seconds[name, count].append(_seconds(count, packages[name], options))
            print(f"{name}, {count} side by side: {seconds[name, count][-1]:.1f} s", file=sys.stderr)
    machine = {
        "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M}",  # one run's rows share it
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "torch": installed("torch"),
        "options": " ".join(options),
    }
    for (name, count), measured in seconds.items():
        median, alone = statistics.median(measured), statistics.median(seconds[name, 1])
        append(
            "side_by_side",
            machine
            | {"package": name, "processes": count, "seconds": round(median, 2)}
            | {"over_in_turn": round(median / alone / count, 3), "repeats": asked.repeats},
        )


def _seconds(count: int, package: Path, options: list[str]) -> float:
    """From the start of so many trainings to the end of the last."""
    environment = os.environ | {"PYTHONPATH": str(package.absolute())}
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-m", "onecycle_cli", "train", *options, "--quiet", "--runs-dir", runs]
        started = time.perf_counter()
        running = [
            subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for _ in range(count)
        ]
        codes = [process.wait() for process in running]
        ended = time.perf_counter()
    if any(code not in (0, 3) for code in codes):
        sys.exit(f"A training ended with {max(codes)}.")
    return ended - started


def _processor() -> str:
    import torch

    return str(torch.cpu.get_capabilities().get("cpu_name", "")) or platform.processor()


if __name__ == "__main__":
    main()
