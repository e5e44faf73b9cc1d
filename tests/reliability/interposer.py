"""Builds interpose.c and controls it from a process that was started with it."""

import ctypes
import mmap
import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).with_name("interpose.c")
SHORT, KILL = -1, -2
"""Faults that are not an errno: a read or write of half of the data, and SIGKILL right after the call."""


@dataclass(frozen=True)
class Entry:
    """An entry of a record: a call that was counted, as `counted`, or one that succeeded, by its name.

    `fd` is the number of a counted call, whose name is `second`; otherwise the descriptor, or -1. `offset` is that of a
    write, the size of a truncation, or the descriptor that a dup copies. `second` is the new name of a rename or link.
    """

    call: str
    fd: int
    flags: int
    offset: int
    first: str
    second: str
    data: bytes


HEAD = struct.Struct("16s3q3Q")


def entries(record: bytes) -> Iterator[Entry]:
    """Reads a record."""
    at = 0
    while at < len(record):
        call, fd, flags, offset, *sizes = HEAD.unpack_from(record, at)
        at += HEAD.size
        parts = []
        for size in sizes:
            parts.append(record[at : at + size])
            at += size
        first, second, data = parts
        yield Entry(call.rstrip(b"\0").decode(), fd, flags, offset, os.fsdecode(first), os.fsdecode(second), data)


class _Shared(ctypes.Structure):
    """The struct `state` of interpose.c."""

    _fields_ = (
        ("count", ctypes.c_long),
        ("fail_at", ctypes.c_long),
        ("fault", ctypes.c_long),
        ("hit_call", ctypes.c_char * 32),
        ("hit_path", ctypes.c_char * 4096),
    )


def compiler() -> str | None:
    """Returns the C compiler of this machine, or None; interpose.c is for Linux alone."""
    return shutil.which("cc") if sys.platform == "linux" else None


def build(folder: Path, source: Path = SOURCE) -> Path:
    """Compiles a C file in `folder`; returns the library for LD_PRELOAD."""
    library = folder / f"{source.stem}.so"
    flags = ("-O2", "-Wall", "-Wextra", "-Werror", "-fPIC", "-shared", "-ldl")
    subprocess.run([compiler() or "cc", str(source), "-o", str(library), *flags], check=True)
    return library


class Interposer:
    """The interposed calls of this process and of those that it forks from now on.

    It needs a process that was started with `LD_PRELOAD=<library>`. Each instance counts for itself: `start` in the
    fork that is counted.
    """

    def __init__(self, library: Path) -> None:
        assert str(library) in os.environ.get("LD_PRELOAD", ""), "start this process with LD_PRELOAD"
        self._memory = mmap.mmap(-1, ctypes.sizeof(_Shared))  # shared with forks, so it outlives a kill
        self._shared = _Shared.from_buffer(self._memory)
        self._library: Any = ctypes.CDLL(str(library))

    def set(self, fail_at: int = -1, fault: int = 0) -> None:
        """Counts from 0 again. The call number `fail_at` has the fault; -1: none."""
        self._shared.count, self._shared.fail_at, self._shared.fault = 0, fail_at, fault
        self._shared.hit_call = self._shared.hit_path = b""

    def start(self, folders: Sequence[Path], record: Path | None = None) -> None:
        """Counts, in this process and its forks, the calls on paths in the folders; records them in a file."""
        scope = "\n".join(f"{folder}/" for folder in folders)
        file = None if record is None else os.fsencode(record)
        self._library.interpose_start(ctypes.byref(self._shared), os.fsencode(scope), file)

    @property
    def count(self) -> int:
        """The number of calls so far."""
        return int(self._shared.count)

    @property
    def hit(self) -> tuple[str, Path] | None:
        """The call that had the fault, and its path; None if there was none yet."""
        call = self._shared.hit_call.decode()
        return (call, Path(os.fsdecode(self._shared.hit_path))) if call else None
