"""Makes the Nth request for memory of a command fail, for each N, and limits a command's address space.

    python tests/reliability/memory.py faults FILE.csv [--every K] [--command NAME] [--kind KIND]
    python tests/reliability/memory.py limits FILE.csv [--levels K] [--command NAME]

A command must end with its right result, or with exit code 5 and a message that says that memory is short, where, and
what to do; a sweep tells it of a cell and goes on. Then `--resume`, or the same command again, must come to the bytes
of a command that nothing disturbed. A library that aborts or crashes where it gets no memory ends the process: these
ends are counted, and must cost nothing either. The rows are written as they come; the same words again go on where the
file ends. See allocations.c for what is not seen.
"""

import argparse
import csv
import ctypes
import itertools
import json
import os
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

SOURCE = Path(__file__).with_name("allocations.c")

SMALL = {
    "model.width": 0.5,
    "data.batch_size": 256,
    "schedule.epochs": 2,
    "schedule.max_lr": 0.3,
    "find_lr.num_steps": 40,
    "find_lr.start_lr": 1e-3,
    "find_lr.end_lr": 10.0,
    "runtime.device": "cpu",
    "runtime.precision": "float32",
    "runtime.checkpoint_seconds": 0,
    "runtime.save_best": "true",
}
RECIPE = ["digits", *(word for field, value in SMALL.items() for word in ("--set", f"{field}={value}"))]

COMMANDS = {
    "find-lr": ["find-lr", *RECIPE],
    "train": ["train", *RECIPE],
    "sweep": ["sweep", *RECIPE, "--set", "--param", "schedule.max_lr=0.2,0.3"],
    "evaluate": ["evaluate", "trained"],
    "export": ["export", "trained", "--format", "safetensors"],
}
"""What is disturbed; the last two begin with a training, `trained`."""

KINDS = {
    "tensor": (1, 1),
    "kernel": (2, 1 << 14),
    "heap": (4, 1 << 14),
    "map": (8, 1),
    "thread": (16, 1),
    "fork": (32, 1),
}
"""Kinds of requests as allocations.c numbers them, with the bytes from which a request counts.

Python's own objects, smaller than 16 KiB, are not made to fail: a machine whose memory is short refuses large blocks.
"""

RESULTS = re.compile(r"^(?!checkpoint-).*\.(csv|safetensors)$|suggestion\.json$")
TIMES = {"seconds", "images_per_second"}
SECONDS = 600
"""The time after which a command hangs."""


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, or a negative signal; None where it hung. And how many requests it made."""

    code: int | None
    out: str
    err: str
    counted: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Fault:
    """A row of the table: which requests failed, how the command ended, and what is wrong with that, if anything."""

    command: str
    kind: str
    number: int
    until: str
    code: int | None
    end: str
    wrong: str
    said: str


def compiler() -> str | None:
    """The C compiler of this machine."""
    named = (sysconfig.get_config_var("CC") or "cc").split()[0]
    return shutil.which(named) or shutil.which("cc")


def built(folder: Path) -> Path:
    """The library that makes requests fail, in `folder`."""
    library = folder / "allocations.so"
    found = compiler()
    assert found is not None, "there is no C compiler"
    subprocess.run([found, "-O2", "-shared", "-fPIC", "-o", library, SOURCE, "-ldl"], check=True)
    return library


# ---- one command in a process that is forked, with requests that fail


def forked(words: Sequence[str], folder: Path, armed: Sequence[int] = ()) -> Ended:
    """Runs a command in a fork of this process, which has imported all; `armed` are the words of allocations_arm."""
    out, err, report = (folder.parent / f"{folder.name}.{name}" for name in ("out", "err", "report"))
    process = os.fork()
    if process == 0:
        _as_command(words, folder, armed, out, err, report)
    code = _waited(process)
    counted, failed = struct.unpack("qq", report.read_bytes()) if report.is_file() else (0, 0)
    report.unlink(missing_ok=True)
    return Ended(code, out.read_text(errors="replace"), err.read_text(errors="replace"), counted, failed)


def _as_command(words: Sequence[str], folder: Path, armed: Sequence[int], out: Path, err: Path, report: Path) -> None:
    import traceback

    from onecycle_cli.cli import app

    code = 70
    try:
        os.chdir(folder)
        os.environ |= {"ONECYCLE_DATA": str(folder / "cache"), "COLUMNS": "200"}
        for number, path in ((1, out), (2, err)):
            opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, number)
            os.close(opened)
        sys.argv = ["onecycle", *words]
        library = ctypes.CDLL(None)
        for name in ("allocations_counted", "allocations_failed"):
            getattr(library, name).restype = ctypes.c_long
        kind, *numbers = armed or (0, 0, 0, 0)
        library.allocations_arm(ctypes.c_int(kind), *map(ctypes.c_long, numbers))
        try:
            app(list(words))
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        except BaseException:
            library.allocations_rest()
            traceback.print_exc()
            code = 1
        library.allocations_rest()
        counted = library.allocations_counted(), library.allocations_failed()
        report.write_bytes(struct.pack("qq", *counted))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _waited(process: int) -> int | None:
    end = time.monotonic() + SECONDS
    while True:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > end:
            os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)
            return None
        time.sleep(0.005)


# ---- what a command left


def results(folder: Path) -> dict[str, object]:
    """The results of the runs in a folder, without the names of runs, which are times, and without times."""
    found: dict[str, object] = {}
    runs = sorted(path for path in (folder / "runs").iterdir() if path.name[0] != "." and _status(path) == "finished")
    for run in runs:
        for path in sorted(run.rglob("*")):
            inner = path.relative_to(run)
            if path.is_file() and RESULTS.search(path.name) and ".unfinished" not in str(inner):
                found[f"{_command(run)}/{inner}"] = _without_times(path)
    return found


def _status(run: Path) -> object:
    try:
        return json.loads((run / "run.json").read_text())["status"]
    except (OSError, ValueError):
        return None


def _command(run: Path) -> str:
    return str(json.loads((run / "run.json").read_text())["command"])


def _without_times(path: Path) -> object:
    if path.suffix != ".csv":
        return path.read_bytes()
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return [{name: cell for name, cell in row.items() if name not in TIMES} for row in rows]


def halves(folder: Path) -> Iterator[str]:
    """Yields the files under their final names that are not whole, and folders that are not runs."""
    from PIL import Image
    from safetensors import safe_open

    for path in sorted((folder / "runs").rglob("*")) if (folder / "runs").is_dir() else []:
        if path.name[0] == "." or any(part[0] == "." for part in path.relative_to(folder).parts):
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".safetensors":
                with safe_open(path, "pt") as file:
                    list(file.keys())
            elif path.suffix == ".png":
                Image.open(path).verify()
            elif path.suffix == ".csv" and _status(path.parent) == "finished":
                assert path.read_bytes().endswith(b"\n")
        except Exception as error:
            yield f"{path.relative_to(folder)} is not whole: {error}"


def judged(ended: Ended, folder: Path, whole: Mapping[str, object], before: Mapping[str, object]) -> tuple[str, str]:
    """How a command ended in a word, and what is wrong with it so far; empty if nothing is."""
    wrong = list(halves(folder))
    if ended.code is None:
        return "hung", f"it hung for {SECONDS} s"
    if "Traceback" in ended.err or "Traceback" in ended.out:
        wrong.append("a traceback")
    if (folder / "runs").is_dir() and not before.items() <= results(folder).items():
        wrong.append("an earlier result was lost")
    if ended.code < 0 or ended.code == 127:
        return f"killed by {signal.Signals(-ended.code).name}", "; ".join(wrong)
    if ended.code in (0, 3, 4) and "failed: Out of memory" in ended.err:
        return "told of a cell", "; ".join(wrong)
    if ended.code == 0:
        if results(folder) != whole:
            wrong.append(_differing(results(folder), whole))
        return "right result", "; ".join(wrong)
    if ended.code != 5:
        return f"exit code {ended.code}", "; ".join([*wrong, f"exit code {ended.code}"])
    if not re.search(r"memory|thread|processes", ended.err, re.IGNORECASE) or ended.err.count("\n") < 2:
        wrong.append("the message does not say that memory is short, and what to do")
    return "told", "; ".join(wrong)


def _differing(found: Mapping[str, object], whole: Mapping[str, object]) -> str:
    names = [name for name in sorted({*found, *whole}) if found.get(name) != whole.get(name)]
    return f"other results: {', '.join(names[:4])}"


def again(words: Sequence[str], ended: Ended, folder: Path) -> list[str]:
    """The words that go on after a failure: those that the message names, or the same ones.

    A process that a library has ended leaves no message: its training goes on if it has a checkpoint.
    """
    resume = re.search(r"train --resume (\S+)", ended.err)
    if resume:
        return ["train", "--resume", resume[1].rstrip(".`")]
    if words[0] == "train" and (ended.code or 0) < 0:
        for checkpoint in (folder / "runs").glob("*/checkpoint-*"):
            return ["train", "--resume", str(checkpoint.parent)]
    return list(words)


# ---- faults


def prepare_fork_server() -> None:
    """Imports what the commands would import, once."""
    import matplotlib.pyplot  # noqa: F401
    import pandas  # noqa: F401
    import safetensors.torch  # noqa: F401
    import sklearn.datasets  # noqa: F401
    import torch  # noqa: F401
    import torchvision  # noqa: F401

    import onecycle_cli.cli
    import onecycle_cli.experiments.sweep
    import onecycle_cli.experiments.training  # noqa: F401


@dataclass(frozen=True)
class Bench:
    """A command with the folder that it begins in, what that holds, and what an undisturbed command leaves."""

    name: str
    start: Path
    before: Mapping[str, object]
    whole: Mapping[str, object]

    @property
    def words(self) -> list[str]:
        return COMMANDS[self.name]

    def counted(self, work: Path, kind: str) -> int:
        """How many requests of a kind the command makes."""
        bits, smallest = KINDS[kind]
        folder = fresh(self.start, work / "counted")
        return forked(self.words, folder, (bits, smallest, 0, 0)).counted

    def disturbed(self, work: Path, kind: str, number: int, until: str) -> Fault:
        """Runs the command with the `number`th request failing, or all from there, then lets it go on."""
        bits, smallest = KINDS[kind]
        folder = fresh(self.start, work / "disturbed")
        last = number if until == "once" else 2**62
        ended = forked(self.words, folder, (bits, smallest, number, last))
        end, wrong = judged(ended, folder, self.whole, self.before)
        if end != "right result":
            after = forked(again(self.words, ended, folder), folder)
            if after.code != 0 or results(folder) != self.whole:
                said = after.err[-200:] if after.code else _differing(results(folder), self.whole)
                wrong = "; ".join(filter(None, [wrong, f"did not go on: {after.code} {said}"]))
        return Fault(self.name, kind, number, until, ended.code, end, wrong, ended.err[-300:].replace("\n", " / "))


def fresh(start: Path, folder: Path) -> Path:
    """A copy of the folder in which a command begins."""
    shutil.rmtree(folder, ignore_errors=True)
    return Path(shutil.copytree(start, folder))


def bench(name: str, work: Path) -> Bench:
    """Runs a command undisturbed."""
    start, folder = work / f"{name}-start", work / f"{name}-whole"
    start.mkdir()
    if "trained" in COMMANDS[name]:
        ended = forked(["train", *RECIPE, "--name", "trained"], start)
        assert ended.code == 0, ended.err
    before = results(start) if (start / "runs").is_dir() else {}
    ended = forked(COMMANDS[name], fresh(start, folder))
    assert ended.code == 0, ended.err
    return Bench(name, start, before, results(folder))


def faults(
    file: Path, commands: Sequence[str], kinds: Sequence[str], every: int, chosen: Sequence[int], untils: Sequence[str]
) -> "Counter[str]":
    """Makes every `every`th request fail, or the `chosen` ones; the number of ends by kind."""
    prepare_fork_server()
    done = _rows_done(file)
    with tempfile.TemporaryDirectory() as folder, Appending(file) as write:
        for name in commands:
            one = bench(name, Path(folder))
            for kind in kinds:
                numbers = chosen
                if not numbers:
                    count = one.counted(Path(folder), kind)
                    print(f"{name} {kind}: {count} requests", file=sys.stderr, flush=True)
                    numbers = range(1, count + 1, every if count > 20 else 1)
                for number, until in itertools.product(numbers, untils):
                    if (name, kind, str(number), until) not in done:
                        write(one.disturbed(Path(folder), kind, number, until))
    return ends_in(file)


def ends_in(file: Path) -> "Counter[str]":
    """Counts the ends in a table, by command and kind of request."""
    with file.open(newline="") as opened:
        return Counter(
            f"{row['command']} {row['kind']} {row['end']}{', WRONG' if row['wrong'] else ''}"
            for row in csv.DictReader(opened)
        )


def _rows_done(file: Path) -> set[tuple[str, ...]]:
    if not file.is_file():
        return set()
    with file.open(newline="") as opened:
        return {tuple(row[name] for name in ("command", "kind", "number", "until")) for row in csv.DictReader(opened)}


class Appending:
    """Appends rows to the table; a context manager that closes it."""

    def __init__(self, file: Path) -> None:
        new = not file.is_file()
        self._file = file.open("a", newline="")
        self._rows = csv.DictWriter(self._file, [field.name for field in fields(Fault)])
        if new:
            self._rows.writeheader()

    def __enter__(self) -> "Callable[[Fault], None]":
        return self.write

    def write(self, fault: Fault) -> None:
        self._rows.writerow(asdict(fault))
        self._file.flush()
        if fault.wrong:
            print(f"{fault.command} {fault.kind} {fault.number} {fault.until}: {fault.wrong}", file=sys.stderr)

    def __exit__(self, *_: object) -> None:
        self._file.close()


# ---- limits of the address space


def limited(words: Sequence[str], folder: Path, limit: int | None) -> tuple[Ended, int]:
    """Runs a command with so many bytes of address space; how it ended, and the largest size of its process."""
    program = (
        "import atexit, sys\n"
        "def tell():\n"
        "    sys.stderr.write(next(line for line in open('/proc/self/status') if line.startswith('VmPeak')))\n"
        "atexit.register(tell)\n"
        "from onecycle_cli.__main__ import main; main()\n"
    )

    def limit_it() -> None:
        if limit is not None:
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    environment |= {"ONECYCLE_DATA": str(folder / "cache"), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words],
        cwd=folder,
        env=environment,
        preexec_fn=limit_it,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    try:
        out, err = process.communicate(timeout=SECONDS)
        code: int | None = process.returncode
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        code = None
    peak = re.search(r"VmPeak:\s*(\d+) kB\n?", err)
    err = re.sub(r"VmPeak:.*\n?", "", err)
    return Ended(code, out, err), int(peak[1]) * 1024 if peak else 0


def levels(small: int, loaded: int, whole: int, count: int) -> list[int]:
    """So many limits: a third of them below what loads torch, the others from there to what the command needs."""
    below = count // 3
    rest = count - below
    first = [small + (loaded - small) * number // below for number in range(below)]
    return first + [loaded + (whole - loaded) * number // (rest - 1) for number in range(rest)]


def limits(file: Path, commands: Sequence[str], count: int) -> "Counter[str]":
    """Runs each command with `count` limits of its address space; the number of ends by kind."""
    done = _rows_done(file)
    with tempfile.TemporaryDirectory() as folder, Appending(file) as write:
        work = Path(folder)
        _, small = limited(["--version"], work, None)
        _, loaded = limited(["find-lr", "digits", "--device", "cuda:99"], work, None)
        for name in commands:
            start = work / f"{name}-start"
            start.mkdir()
            if "trained" in COMMANDS[name]:
                ended, _ = limited(["train", *RECIPE, "--name", "trained"], start, None)
                assert ended.code == 0, ended.err
            before = results(start) if (start / "runs").is_dir() else {}
            undisturbed = fresh(start, work / f"{name}-whole")
            ended, whole = limited(COMMANDS[name], undisturbed, None)
            assert ended.code == 0, ended.err
            wanted = results(undisturbed)
            for level in levels(small, loaded, whole, count):
                if (name, "limit", str(level >> 20), "") in done:
                    continue
                disturbed = fresh(start, work / "limited")
                ended, _ = limited(COMMANDS[name], disturbed, level)
                end, wrong = judged(ended, disturbed, wanted, before)
                if end != "right result":
                    after, _ = limited(again(COMMANDS[name], ended, disturbed), disturbed, None)
                    if after.code != 0 or results(disturbed) != wanted:
                        wrong = "; ".join(filter(None, [wrong, f"did not go on: {after.code} {after.err[-200:]}"]))
                said = ended.err[-300:].replace("\n", " / ")
                write(Fault(name, "limit", level >> 20, "", ended.code, end, wrong, said))
    return ends_in(file)


def main() -> None:
    """Parses the words above."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["faults", "limits"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--every", type=int, default=1, help="faults: each K-th request alone")
    parser.add_argument("--numbers", type=int, nargs="+", default=[], help="faults: these requests, and no others")
    parser.add_argument(
        "--until", choices=["once", "on"], nargs="+", default=["once", "on"], help="faults: one, or all"
    )
    parser.add_argument("--levels", type=int, default=10, help="limits: how many")
    parser.add_argument("--command", action="append", choices=[*COMMANDS])
    parser.add_argument("--kind", action="append", choices=[*KINDS])
    asked = parser.parse_args()
    commands = asked.command or [*COMMANDS]
    if asked.what == "limits":
        ends = limits(asked.file, commands, asked.levels)
    elif "ONECYCLE_ALLOCATIONS" not in os.environ:
        with tempfile.TemporaryDirectory() as folder:
            environment = os.environ | {"OMP_NUM_THREADS": "1", "ONECYCLE_ALLOCATIONS": "1"}
            environment["LD_PRELOAD"] = str(built(Path(folder)))
            sys.exit(subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode)
    else:
        ends = faults(asked.file, commands, asked.kind or [*KINDS], asked.every, asked.numbers, asked.until)
    for end, number in sorted(ends.items()):
        print(f"{number:6}  {end}")
    sys.exit(any("WRONG" in end for end in ends))


if __name__ == "__main__":
    main()
