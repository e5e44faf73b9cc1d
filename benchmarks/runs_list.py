"""Times `onecycle runs` in a folder of many runs: python benchmarks/runs_list.py.

The runs are copies of one small training, each with its own name and start. Every way takes its turn as a process, with
the files in the page cache. Appends the medians of the time and of the processor time to
benchmarks/results/runs_list.csv.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from rows import append

WAYS = {
    "table": [],
    "sorted": ["--sort", "valid_accuracy", "--reverse"],
    "filtered": ["--recipe", "digits", "--status", "finished", "--since", "2020-01-01"],
    "csv": ["--csv", "-"],
    "json": ["--json"],
}


def main() -> None:
    """Makes the runs and lists them in each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for summaries in (True, False):
            runs_dir = Path(folder, f"summaries-{summaries}")
            make(runs_dir, options.runs, summaries=summaries)
            for way, words in WAYS.items():
                if summaries or way in ("table", "csv"):
                    row = measured(way, words, runs_dir, options.repeats)
                    append("runs_list", row | {"runs": options.runs, "summaries": summaries})
                    print(row)


def make(runs_dir: Path, count: int, *, summaries: bool) -> None:
    """Makes a training, and copies of its facts, its recipe and, if asked, its summary."""
    first = runs_dir / "run-00000"
    tiny = ["--epochs", "1", "--set", "model.width=0.25", "--max-lr", "0.1", "--device", "cpu"]
    words = ["train", "digits", *tiny, "--runs-dir", str(runs_dir), "--name", first.name, "--quiet"]
    subprocess.run([sys.executable, "-m", "onecycle_cli", *words], check=True, capture_output=True)
    facts, begun = json.loads((first / "run.json").read_text()), datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(1, count):
        copy = runs_dir / f"run-{number:05d}"
        copy.mkdir()
        started = (begun + timedelta(minutes=number)).isoformat(timespec="microseconds")
        (copy / "run.json").write_text(json.dumps(facts | {"started": started}, indent=2))
        for name in ("recipe.yaml", *(["summary.json"] if summaries else [])):
            (copy / name).write_bytes((first / name).read_bytes())
    if not summaries:
        (first / "summary.json").unlink()


def measured(way: str, words: list[str], runs_dir: Path, repeats: int) -> dict[str, object]:
    """Returns the row of one way, without the first run of it, which reads the files into the page cache."""
    seconds, processor = [], []
    for _ in range(repeats + 1):
        before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        command = [sys.executable, "-m", "onecycle_cli", "runs", *words, "--runs-dir", str(runs_dir)]
        subprocess.run(command, check=True, capture_output=True)
        seconds.append(time.perf_counter() - started)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "way": way,
        "seconds": round(statistics.median(seconds[1:]), 3),
        "processor_seconds": round(statistics.median(processor[1:]), 3),
        "repeats": repeats,
        "load": round(os.getloadavg()[0], 1),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    main()
