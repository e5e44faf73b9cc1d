"""Kills trainings at random moments, lets them go on, and compares their ends with undisturbed ones.

    python tests/chaos.py [RUNS]

Each run is killed by SIGKILL once or more: after a random share of the time that it takes, at a random row of its
table, or while a checkpoint is being written, of which there is one a step. Then it must come to the same weights and
the same tables, byte by byte.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

RUNS = 36
EPOCHS = 6
STEPS = 12 * EPOCHS
COMMON = {
    "model.width": 0.25,
    "data.batch_size": 128,
    "schedule.epochs": EPOCHS,
    "runtime.checkpoint_seconds": 0,
    "runtime.save_best": "true",
}
STAGES = "[{freeze_to: head, epochs: 2, max_lr: 0.2}, {freeze_to: null, epochs: 4, max_lr: null}]"
KINDS = {
    "sgd": ["--max-lr", "0.1", "--set", "model.dropout=0.2"],
    "adamw": ["--max-lr", "0.003", "--set", "optimizer.name=adamw"],
    "stages": ["--max-lr", "0.1", "--set", f"fine_tune.stages={STAGES}"],
    "averaged": ["--max-lr", "0.1", "--set", "runtime.ema=0.99", "--set", "data.accumulate=3"],
    "auto": ["--max-lr", "auto", "--set", "model.width=0.5"],
}
COMPARED = ("steps.csv", "epochs.csv", "lr_range.csv", "model.safetensors", "best.safetensors", "recipe.yaml")
TIMES = ("seconds", "images_per_second")


@dataclass(frozen=True)
class Undisturbed:
    """A run that nobody touched, and the seconds from its start to its end."""

    path: Path
    seconds: float


def started(runs: Path, *words: str) -> "subprocess.Popen[bytes]":
    """The command in a process of its own, with one thread, since two cores run two of them."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "onecycle_cli", "train", *words, "--runs-dir", str(runs), "--quiet"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def train_words(kind: str, name: str) -> list[str]:
    """What trains the digits so, in a folder of that name."""
    settings = [word for field, value in COMMON.items() for word in ("--set", f"{field}={value}")]
    return ["digits", *settings, *KINDS[kind], "--name", name]


def undisturbed(runs: Path, kind: str) -> Undisturbed:
    """A whole run."""
    began = time.monotonic()
    process = started(runs, *train_words(kind, kind))
    _, err = process.communicate()
    assert process.returncode == 0, err.decode()
    return Undisturbed(runs / kind, time.monotonic() - began)


def moment(path: Path, whole: Undisturbed, draw: random.Random) -> tuple[str, Callable[[], bool]]:
    """When to kill the run in `path` that starts now: in words, and whether it has come."""
    at, rows = time.monotonic() + draw.uniform(0, whole.seconds), draw.randrange(STEPS)
    at_checkpoint = (
        "while a checkpoint was written",
        lambda: lines_of(path / "steps.csv") > rows and any(path.glob(".checkpoint-*")),
    )
    return draw.choice(
        [
            ("at a random time", lambda: time.monotonic() > at),
            ("at a random row", lambda: lines_of(path / "steps.csv") > rows),
            at_checkpoint,
            at_checkpoint,
        ]
    )


def lines_of(table: Path) -> int:
    """The rows of a table by now, with its header."""
    try:
        return table.read_bytes().count(b"\n")
    except FileNotFoundError:
        return 0


def killed(process: "subprocess.Popen[bytes]", has_come: Callable[[], bool]) -> bool:
    """Kills the process when the moment has come; whether it did before the process ended by itself."""
    while process.poll() is None:
        if has_come():
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return process.returncode == -signal.SIGKILL
    process.communicate()
    return False


def survived(runs: Path, number: int, kind: str, whole: Undisturbed, kills: "Counter[str]") -> None:
    """Kills a run, lets it go on, perhaps kills it again, and compares its end; `AssertionError` where that differs."""
    draw, name = random.Random(number), f"{kind}-{number}"
    path = runs / name
    times = 0
    while True:
        when, has_come = moment(path, whole, draw)
        began = (path / "run.json").is_file()
        process = started(runs, *(["--resume", str(path)] if began else train_words(kind, name)))
        if killed(process, has_come):
            kills[when] += 1
            times += 1
        elif times:
            break
        else:
            shutil.rmtree(path)  # it came to its end before the moment did
        if times and (path / "run.json").is_file() and draw.random() < 0.6:
            process = started(runs, "--resume", str(path))
            _, err = process.communicate()
            assert process.returncode == 0 or b"has come to its end" in err, f"{name}: {err.decode()}"
            break
    for file in COMPARED:
        assert without_times(path / file) == without_times(whole.path / file), f"{name}: {file} differs"


def without_times(path: Path) -> object:
    """The bytes of a file, of `epochs.csv` without the columns that tell times; None where there is none."""
    if not path.is_file():
        return None
    if path.name != "epochs.csv":
        return path.read_bytes()
    rows = [line.split(",") for line in path.read_text().splitlines()]
    kept = [number for number, column in enumerate(rows[0]) if column not in TIMES]
    return [[row[number] for number in kept] for row in rows]


def chaos(runs: Path, count: int) -> "Counter[str]":
    """Kills `count` runs in the folder `runs`, in turn of the kinds; the number of kills by moment."""
    kills: Counter[str] = Counter()
    kinds = list(KINDS)[:count]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        whole = dict(zip(kinds, pool.map(lambda kind: undisturbed(runs, kind), kinds), strict=True))
        turns = [(number, kinds[number % len(kinds)]) for number in range(count)]
        list(pool.map(lambda turn: survived(runs, turn[0], turn[1], whole[turn[1]], kills), turns))
    return kills


def main() -> None:
    """Prints how many runs there were, how often they were killed, and when."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RUNS
    with tempfile.TemporaryDirectory() as folder:
        kills = chaos(Path(folder), count)
    times = "".join(f"\n  {number:4}  {when}" for when, number in kills.most_common())
    print(f"{count} runs were killed {kills.total()} times:{times}")
    print("All ended with the weights and tables of whole ones.")


if __name__ == "__main__":
    main()
