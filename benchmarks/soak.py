"""Trains hundreds of times in one process, and in many processes at once, and counts what is left over each time.

    python benchmarks/soak.py in-a-row --runs 500
    python benchmarks/soak.py at-once --processes 50 --repeats 3
    python benchmarks/soak.py slopes

`in-a-row` trains in ten kinds in turn, through the command and through Python. After each ten, a row of
benchmarks/results/soak.csv holds the memory, open files, threads, child processes, temporary files, image and cache
files, and objects of this process: all kinds have run equally often by then, so what rises from row to row is a leak.
`at-once` starts trainings as processes in one runs folder, and a row of soak_at_once.csv says how they ended, whether
equal recipes gave equal bits, and what they left behind. Both go on where they were stopped: what has no row yet is
run. `slopes` tells the growth a run in the second half of the rows. Linux only: it counts in /proc.
"""

import argparse
import csv
import ctypes
import gc
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from command import ROOT
from rows import append, csv_file, installed

TINY = {
    "model.width": 0.25,
    "data.batch_size": 128,
    "schedule.epochs": 2,
    "schedule.max_lr": 0.1,
    "find_lr.num_steps": 30,
    "runtime.device": "cpu",
}
"""Makes of a shipped recipe a training of less than a second."""

FEW, MANY = 40, 210
"""Images of a class in the two folders. Of more than 2,000 images, worker processes fill the cache."""

CLASSES = 10

COUNTED = (
    "private_bytes",
    "allocated_bytes",
    "rss_bytes",
    "open_files",
    "threads",
    "children",
    "temporary_files",
    "data_files",
    "objects",
)
"""What a row of `in-a-row` counts, in this process after a collection of garbage."""


def main() -> None:
    """Runs the part that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=["in-a-row", "at-once", "slopes"])
    parser.add_argument("--runs", type=int, default=500, help="of in-a-row")
    parser.add_argument("--processes", type=int, default=50, help="of at-once")
    parser.add_argument("--repeats", type=int, default=3, help="of at-once")
    parser.add_argument("--reserve", type=float, default=2, help="GiB of memory that at-once leaves to others")
    parser.add_argument("--soak", help="a name for these rows; where there are rows of that name, it goes on")
    asked = parser.parse_args()
    if asked.part == "slopes":
        print(*slopes(), sep="\n")
        return
    soak = asked.soak or f"{datetime.now(UTC):%Y-%m-%d}"
    before = dict(os.environ)
    with tempfile.TemporaryDirectory(prefix="onecycle-soak-") as folder:
        try:
            if asked.part == "in-a-row":
                in_a_row(Path(folder), soak, asked.runs)
            else:
                at_once(Path(folder), soak, asked.processes, asked.repeats, asked.reserve * 2**30)
        finally:
            os.environ.clear()
            os.environ.update(before)
            tempfile.tempdir = None


def in_a_row(folder: Path, soak: str, runs: int) -> None:
    """Trains until there were `runs` trainings of this soak; a row for each turn of all kinds."""
    known = rows_of("soak", soak)
    done = max((int(row["run"]) for row in known), default=0)
    part = max((int(row["part"]) for row in known), default=0) + 1
    temporary = prepare(folder)
    while done < runs:
        began = time.perf_counter()
        for kind in KINDS:
            kind(folder, f"run-{done + 1:05d}")
            done += 1
        row = {"soak": soak, "part": part, "run": done, "seconds": round(time.perf_counter() - began, 2)}
        append("soak", row | counted(temporary, folder / "data") | machine())
        print(row, file=sys.stderr)


def prepare(folder: Path) -> Path:
    """Makes folders of images, and sends the caches and temporary files of this process to folders of their own."""
    temporary = folder / "tmp"
    temporary.mkdir()
    images(folder / "data/few", FEW)
    images(folder / "data/many", MANY)
    os.environ |= {"ONECYCLE_DATA": str(folder / "data"), "TMPDIR": str(temporary)}
    tempfile.tempdir = None  # Python looks for TMPDIR once
    return temporary


def images(folder: Path, count: int) -> None:
    """Writes `count` grey PNGs of each class: noise, and a row of white pixels whose place tells the class."""
    from PIL import Image

    draw = np.random.default_rng(0)
    for label in range(CLASSES):
        inner = folder / "train" / f"class-{label}"
        inner.mkdir(parents=True)
        for number in range(count):
            pixels = draw.integers(0, 128, (CLASSES, CLASSES), np.uint8)
            pixels[label] = 255
            Image.fromarray(pixels).save(inner / f"{number}.png")


def counted(temporary: Path, data: Path) -> dict[str, int]:
    """What this process holds now. Private memory is that which no file stands behind: others cannot share it."""
    gc.collect()
    this = psutil.Process()
    memory = this.memory_info()
    return {
        "private_bytes": memory.rss - memory.shared,
        "allocated_bytes": allocated_bytes(),
        "rss_bytes": memory.rss,
        "open_files": this.num_fds(),
        "threads": this.num_threads(),
        "children": len(this.children(recursive=True)),
        "temporary_files": files_below(temporary),
        "data_files": files_below(data),
        "objects": len(gc.get_objects()),
    }


class _Mallinfo2(ctypes.Structure):
    _fields_ = tuple(
        (name, ctypes.c_size_t)
        for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "k")
    )


def allocated_bytes() -> int:
    """The bytes that the main thread holds of the C library, of which freed ones are kept and not given back.

    A leak that is smaller than what was freed before does not raise the private memory, but this.
    """
    asked = ctypes.CDLL(None).mallinfo2
    asked.restype = _Mallinfo2
    found = asked()
    return int(found.uordblks + found.hblkhd)


def files_below(folder: Path) -> int:
    """The number of files and folders, at any depth."""
    return sum(1 for _ in folder.rglob("*"))


def machine() -> dict[str, object]:
    """Where and when a row was measured."""
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%dT%H:%M}",
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 1),
        "python": platform.python_version(),
        "torch": installed("torch"),
        "onecycle": installed("onecycle-cli"),
    }


def rows_of(name: str, soak: str) -> list[dict[str, str]]:
    """The rows of this soak so far."""
    file = csv_file(name)
    if not file.is_file():
        return []
    with file.open(newline="") as opened:
        return [row for row in csv.DictReader(opened) if row["soak"] == soak]


def command(folder: Path, *words: object, ends: int = 0) -> str:
    """Runs the command in this process; what it printed. Ends the soak where the exit code is another one."""
    from typer.testing import CliRunner

    from onecycle_cli.cli import app

    result = CliRunner().invoke(app, [str(word) for word in (*words, "--runs-dir", folder / "runs")])
    if result.exit_code != ends:
        sys.exit(f"onecycle {' '.join(map(str, words))} ended with {result.exit_code}:\n{result.stderr}")
    return result.stdout


def settings(**further: object) -> list[str]:
    """The words that make a recipe tiny; fields of `runtime` and `data` by names such as `runtime__ema`."""
    values = TINY | {name.replace("__", "."): value for name, value in further.items()}
    return [word for field, value in values.items() for word in ("--set", f"{field}={value}")]


def of_folder(folder: Path, name: str) -> list[str]:
    """The words that make the recipe of MNIST one of a folder of images."""
    own = {"data__path": folder / "data" / name, "data__valid_fraction": 0.2, "data__image_size": CLASSES}
    return ["mnist-resnet8", *settings(**own, data__batch_size=32, data__random_crop="false", schedule__epochs=3)]


def with_checkpoints(folder: Path, name: str) -> None:
    """A checkpoint after each step, the best weights, the times of a step's parts, and the list of all runs."""
    kept = settings(runtime__checkpoint_seconds=0, runtime__save_best="true", data__accumulate=2)
    command(folder, "train", "digits", *kept, "--profile", "--name", name)
    command(folder, "runs", "show", name)


def of_images(folder: Path, name: str) -> None:
    """A folder of images whose cache is there, scored class by class, and predictions of its files."""
    command(folder, "train", *of_folder(folder, "few"), "--name", name)
    command(folder, "evaluate", name, "--data", folder / "data/few/train", "--name", f"{name}-scored")
    command(folder, "predict", name, folder / "data/few/train/class-0")


def decoded_again(folder: Path, name: str) -> None:
    """Images that worker processes decode, since their cache was removed."""
    shutil.rmtree(folder / "data/many.onecycle-cache", ignore_errors=True)
    command(folder, "train", *of_folder(folder, "many"), "--epochs", 2, "--batch-size", 128, "--name", name)


def with_suggestion(folder: Path, name: str) -> None:
    """A range test in the same run, and what the curves say."""
    command(folder, "train", "digits", *settings(optimizer__name="adamw"), "--max-lr", "auto", "--name", name)
    command(folder, "diagnose", name, "--json")


def from_python(folder: Path, name: str) -> None:
    """Both public functions, a network of one's own, and a table of the run."""
    import torch
    from torch import nn

    import onecycle_cli as onecycle
    from onecycle_cli.recipe import with_values

    recipe = with_values(onecycle.load_recipe("digits"), TINY)
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, CLASSES))
    found = onecycle.find_lr(recipe, model=network, runs_dir=folder / "runs", name=f"{name}-range", verify=True)
    trained = onecycle.train(recipe, max_lr=0.1, model=network, runs_dir=folder / "runs", name=name)
    trained.model().probabilities(torch.zeros(2, 8, 8, 1, dtype=torch.uint8))
    if found.run.status != "finished" or onecycle.open_run(trained.run.path).steps.empty:
        sys.exit("What was run from Python is not there.")


def broken_off(folder: Path, name: str) -> None:
    """An exception in the caller's report after some steps, then --resume."""
    import onecycle_cli as onecycle
    from onecycle_cli.recipe import with_values

    def report(news: object) -> None:
        if getattr(news, "work", "") == "training" and getattr(news, "done", 0) > CLASSES:
            raise KeyboardInterrupt

    recipe = with_values(
        onecycle.load_recipe("digits"), TINY | {"runtime.checkpoint_seconds": 0, "runtime.log_every": 2}
    )
    try:
        onecycle.train(recipe, runs_dir=folder / "runs", name=name, report=report)
    except KeyboardInterrupt:
        command(folder, "train", "--resume", name)
    else:
        sys.exit("A training that was to be broken off came to its end.")


def swept(folder: Path, name: str) -> None:
    """Two cells, each in a process of its own."""
    values = "optimizer.weight_decay=1e-4,1e-3"
    command(folder, "sweep", "digits", *settings(), "--param", values, "--jobs", 2, "--name", name)


def reported(folder: Path, name: str) -> None:
    """An average of the weights, rows sent to TensorBoard, and the report's page."""
    command(folder, "train", "digits", *settings(runtime__ema=0.9, runtime__log_to="[tensorboard]"), "--name", name)
    command(folder, "report", name)


def refused(folder: Path, name: str) -> None:
    """A training that diverges, and a second one that may not have its name."""
    command(folder, "train", "digits", *settings(schedule__max_lr=1000), "--name", name, ends=3)
    command(folder, "train", "digits", *settings(), "--name", name, ends=2)


def exported(folder: Path, name: str) -> None:
    """Augmented images, then the weights of the run in another file."""
    command(folder, "train", *of_folder(folder, "few"), "--set", "augmentation.trivial_augment=true", "--name", name)
    command(folder, "export", name, "--format", "safetensors", "--quiet")


Kind = Callable[[Path, str], None]
KINDS: list[Kind] = [
    *(with_checkpoints, of_images, with_suggestion, from_python, broken_off),
    *(decoded_again, swept, reported, refused, exported),
]
"""The kinds of trainings, in turn; each makes one run of the name that it is given, perhaps with others beside it."""


def at_once(folder: Path, soak: str, processes: int, repeats: int, reserve: float) -> None:
    """Starts so many trainings at once, until this soak has `repeats` rows of it; `reserve` bytes are for others."""
    known = [row for row in rows_of("soak_at_once", soak) if int(row["processes"]) == processes]
    prepare(folder)
    ways = [["digits", *settings(runtime__checkpoint_seconds=0, runtime__save_best="true")], of_folder(folder, "few")]
    alone = most_private_bytes(ways[0], folder / "alone")
    for number in range(len(known), repeats):
        shutil.rmtree(folder / "data/few.onecycle-cache", ignore_errors=True)  # all find it missing
        row = crowd(folder, folder / f"runs-{number}", [ways[one % 2] for one in range(processes)], alone, reserve)
        append("soak_at_once", {"soak": soak, "processes": processes} | row | machine())
        print(row, file=sys.stderr)


def started(words: Sequence[object], runs: Path) -> "subprocess.Popen[str]":
    """A training in a process of its own with one thread, as on a machine that others use."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return subprocess.Popen(
        [sys.executable, "-m", "onecycle_cli", "train", *map(str, words), "--quiet", "--runs-dir", str(runs)],
        env=os.environ | {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def most_private_bytes(words: Sequence[object], runs: Path) -> int:
    """The most memory of its own that one such training has."""
    most = 0
    with started(words, runs) as process:
        while process.poll() is None:
            most = max(most, private_bytes(process.pid))
            time.sleep(0.05)
    return most


def private_bytes(pid: int) -> int:
    """The memory that no file stands behind; 0 where the process has ended."""
    try:
        memory = psutil.Process(pid).memory_info()
    except psutil.Error:
        return 0
    return int(memory.rss - memory.shared)


def crowd(folder: Path, runs: Path, ways: Sequence[Sequence[object]], alone: int, reserve: float) -> dict[str, object]:
    """Runs all trainings, as many at once as the memory holds; how they ended and what they left behind."""
    began = time.perf_counter()
    waiting, most_running, most_each = list(ways), 0, 0
    running: list[subprocess.Popen[str]] = []
    ended: list[subprocess.Popen[str]] = []
    while waiting or running:
        # Those that were started lately will still take the rest of what one takes.
        growing = sum(max(0, alone - private_bytes(process.pid)) for process in running)
        if waiting and psutil.virtual_memory().available - growing - alone > reserve:
            running.append(started(waiting.pop(0), runs))
        else:
            time.sleep(0.2)
        most_running = max(most_running, len(running))
        most_each = max([most_each, *(private_bytes(process.pid) for process in running)])
        ended += [process for process in running if process.poll() is not None]
        running = [process for process in running if process not in ended]
    seconds = time.perf_counter() - began
    failed = [process for process in ended if process.returncode]
    for process in ended:
        _, told = process.communicate()
        if process in failed:
            print(told, file=sys.stderr)
    made = [path for path in runs.iterdir() if (path / "run.json").is_file()]
    return {
        "most_at_once": most_running,
        "seconds": round(seconds, 1),
        "failed": len(failed),
        "runs": len(made),
        "recipes": len({read_recipe(path) for path in made}),
        "distinct_bits": len({digest(path) for path in made}),
        "most_private_bytes": most_each,
        "left_in_runs": len(leftovers(runs)),
        "left_in_caches": len(leftovers(folder / "data")),
        "temporary_files": files_below(folder / "tmp"),
    }


def read_recipe(run: Path) -> str:
    """The recipe of a run as it stands there."""
    return (run / "recipe.yaml").read_text()


def digest(run: Path) -> str:
    """What tells the weights of a run from others."""
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def leftovers(folder: Path) -> list[Path]:
    """Half-written files and folders, whose names begin with a dot; a lock file stays, and is none."""
    return [path for path in folder.rglob(".*") if not path.name.endswith(".lock")]


def slopes() -> list[str]:
    """The growth a run of each count, with twice its standard error, over the second half of the longest part."""
    from scipy import stats

    told = []
    file = csv_file("soak")
    with file.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    parts: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        parts.setdefault((row["soak"], row["part"]), []).append(row)
    longest = max(parts.values(), key=len)
    half = longest[len(longest) // 2 :]
    told.append(f"{longest[0]['soak']}, part {longest[0]['part']}: runs {half[0]['run']} to {half[-1]['run']}")
    runs = np.array([int(row["run"]) for row in half])
    for name in COUNTED:
        values = np.array([int(row[name]) for row in half])
        line = stats.linregress(runs, values)
        left = values - (line.intercept + line.slope * runs)
        told.append(
            f"{name}: {line.slope:+.3g} ± {2 * error_of(line.stderr, left):.2g} a run, {values[0]} to {values[-1]}"
        )
    return told


def error_of(error: float, left: "np.ndarray[Any, Any]") -> float:
    """The standard error of a slope whose residuals `left` are not independent: as of fewer rows (AR(1))."""
    if not left.any():
        return 0.0
    likeness = max(0.0, float((left[1:] * left[:-1]).sum() / (left**2).sum()))
    return float(error * np.sqrt((1 + likeness) / max(1 - likeness, 1e-3)))


if __name__ == "__main__":
    main()
