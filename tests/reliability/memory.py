"""Makes the Nth request for memory of each command fail, for each N, and limits its address space.

    python tests/reliability/memory.py [--every K] [--number N]... [--command NAME]... [--fault NAME]...
                                       [--log FILE] [--counts FILE]

Of each kind of request (see allocations.c), one fails, or with the fault `...-on` all from there on. The fault `limit`
starts the command with the Nth of ten limits of its address space: three below what loads torch, the others from there
to what the command needs. A command must end with its right result, or with exit code 5 and a message that says that
memory is short, and what to do; a sweep tells it of a cell and goes on. Then `train --resume`, or else the same command
again, must give the result of an undisturbed run. A library that aborts or crashes where it gets no memory ends the
process: these ends are counted by their signal, and must cost nothing either.

`--log` names a CSV file with a row for each fault; with an existing one, it goes on after its rows. `--counts` names
one for the faults with their messages and machine; benchmarks/results/memory_faults.csv has ours.
"""

import ctypes
import mmap
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from commands import NOT_REACHED, RIGHT, SECONDS, End, Prepared, Server, disturbed, places
from jobs import Study, main

KINDS = ("tensor", "kernel", "heap", "map", "thread", "fork")
"""Kinds of requests, in the order of `enum kind` of allocations.c."""

LEVELS = 10
BELOW = 3
"""How many limits of the address space there are, and how many of them are below what loads torch."""


class _Shared(ctypes.Structure):
    """The struct `state` of allocations.c."""

    _fields_ = (
        ("kind", ctypes.c_long),
        ("first", ctypes.c_long),
        ("last", ctypes.c_long),
        ("failed", ctypes.c_long),
        ("counted", ctypes.c_long * len(KINDS)),
    )


class Memory(Study):
    """Memory that is refused, of which the limit and the message are seen."""

    faults = (*(f"{kind}{until}" for kind in KINDS for until in ("", "-on")), "limit")
    seen = ("mebibytes", "message")
    counted = ("number", *seen)
    sources = (Path(__file__).with_name("allocations.c"),)

    def __init__(self, server: Server, folder: Path) -> None:
        super().__init__(server, folder)
        self._memory = mmap.mmap(-1, ctypes.sizeof(_Shared))  # shared with forks
        self._shared = _Shared.from_buffer(self._memory)
        self._counts: dict[str, list[int]] = {}
        self._limits: dict[str, list[int]] = {}
        self._seen: tuple[object, ...] = ()

    def numbers(self, one: Prepared, fault: str) -> range:
        if fault == "limit":
            return range(LEVELS)
        if one.name not in self._counts:
            place = shutil.copytree(one.template, self.folder / "place")
            end = self._run(one, place, "heap", -1)
            assert end.code == one.code, end
            shutil.rmtree(place)
            self._counts[one.name] = [*self._shared.counted]
        return range(self._counts[one.name][KINDS.index(fault.removesuffix("-on"))])

    def disturbed(self, one: Prepared, number: int, fault: str) -> str:
        limit = self._limits_of(one)[number] if fault == "limit" else None
        self._seen = ("", "")

        def run(place: Path) -> End:
            end = self._run(one, place, fault, number) if limit is None else limited(one.scenario.words, place, limit)
            said = re.search(r"^.*(?:Error|memory).*$", end.err, re.MULTILINE)
            self._seen = ("" if limit is None else limit >> 20, said[0].replace(str(self.folder), "") if said else "")
            return end

        def judged(end: End) -> str:
            if limit is None and not self._shared.failed:
                return NOT_REACHED
            return how(end, one)

        return disturbed(self.server, one, self.folder, run, judged, set())

    def what_was_seen(self) -> tuple[object, ...]:
        return self._seen

    def _run(self, one: Prepared, place: Path, fault: str, number: int) -> End:
        """Runs a command with a request that fails; -1: none, but all are counted."""
        self._shared.kind, self._shared.first = KINDS.index(fault.removesuffix("-on")), number
        self._shared.last = 2**62 if fault.endswith("-on") else number
        self._shared.failed, self._shared.counted[:] = 0, [0] * len(KINDS)
        start = ctypes.CDLL(None).allocations_start
        return self.server.run(place, one.scenario.words, arm=lambda: start(ctypes.byref(self._shared)))

    def _limits_of(self, one: Prepared) -> list[int]:
        """Returns the limits of a command, in bytes, from what three undisturbed commands needed."""
        if one.name not in self._limits:
            place = shutil.copytree(one.template, self.folder / "place")
            loads = (["--version"], ["find-lr", "digits", "--device", "cuda:99"], one.scenario.words)
            small, loaded, whole = (_peak(limited([*words], place).err) for words in loads)
            shutil.rmtree(place)
            below = [small + (loaded - small) * number // BELOW for number in range(BELOW)]
            rest = range(LEVELS - BELOW)
            self._limits[one.name] = below + [loaded + (whole - loaded) * number // rest[-1] for number in rest]
        return self._limits[one.name]


def how(end: End, one: Prepared) -> str:
    """Returns how a command ended; `AssertionError` says what is wrong with that."""
    assert end.code is not None
    if end.code < 0:
        return signal.Signals(-end.code).name
    if end.code == 127:
        return "not loaded"  # by the system, before there is any Python
    if end.code == 5:
        told = re.search(r"memory|thread|processes", end.err, re.IGNORECASE) and end.err.count("\n") >= 2
        assert told, f"the message does not say that memory is short, and what to do\n{end.err}"
        return "exit code 5"
    if one.name == "sweep" and "failed: Out of memory" in end.err:
        return "told of a cell"
    assert end.code == one.code, f"exit code {end.code}\n{end.out}{end.err}"
    return RIGHT


def limited(words: "list[str] | tuple[str, ...]", folder: Path, limit: int = resource.RLIM_INFINITY) -> End:
    """Runs a command with so many bytes of address space; the last line of its errors has the most that it took."""
    program = (
        "import atexit, sys\n"
        "def tell():\n"
        "    sys.stderr.write(next(line for line in open('/proc/self/status') if line.startswith('VmPeak')))\n"
        "atexit.register(tell)\n"
        "from onecycle_cli.__main__ import main; main()\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"} | places(folder)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, *words],
            cwd=folder,
            env=environment,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        return End(None, "", repr(error.stderr))
    return End(done.returncode, done.stdout, done.stderr)


def _peak(errors: str) -> int:
    found = re.search(r"VmPeak:\s*(\d+) kB", errors)
    assert found, errors
    return int(found[1]) << 10


if __name__ == "__main__":
    sys.exit(main(Memory, __doc__))
