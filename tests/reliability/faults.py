"""Makes each file-system call of each command fail in turn, in each way, and checks what comes of it.

    python tests/reliability/faults.py [--every K] [--number N]... [--command NAME]... [--fault NAME]...
                                       [--log FILE] [--counts FILE]

A command runs on a tiny recipe. Its calls on files of ours (recipe, images, cache, runs, temporary files) are counted.
Then it runs again for each of them and each fault: the call fails with an errno, writes half of its data, or the
process is killed right after it. Each run must end in the right result, or with exit code 5 and a message that names
file and cause. Then `train --resume`, or else the same command again, must give the result of an undisturbed run.

A call of each kind on each kind of file comes first, then the others. Where several faults at one call leave the same
files, but for times and checksums, the command goes on from there once.

`--log` names a CSV file with a row for each fault; with an existing one, it goes on after its rows. `--counts` names
one for the number of faults by command, call, fault and end; benchmarks/results/faults.csv has ours.
"""

import errno
import os
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest.mock import patch

from matplotlib.figure import Figure
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from commands import NOT_REACHED, RIGHT, End, Prepared, Server, disturbed
from interposer import KILL, SHORT
from jobs import Study, main

FAULTS = {
    "ENOSPC": errno.ENOSPC,
    "EIO": errno.EIO,
    "EACCES": errno.EACCES,
    "EDQUOT": errno.EDQUOT,
    "EINTR": errno.EINTR,
    "short": SHORT,
    "kill": KILL,
}

CHANGES = {
    *("create", "write", "fsync", "truncate", "mkdir", "unlink"),
    *("rename", "link", "chmod", "lock", "mmap", "close"),
}
"""The calls that may change what is on the disk, or wait for it."""

OF_CHANGES = {"ENOSPC", "EDQUOT", "kill"}
"""The faults of these calls alone: reading needs no space, and a kill after it leaves what the call before left."""

OF_DATA = {"read", "write"}
"""The calls that can be short."""

NUMBER, CELL, RUN = re.compile(r"[0-9]+"), re.compile(r"[^/]*=[^/]*"), re.compile(r"^runs/[^/.][^/]*")
"""What tells files of one kind apart: a number, the values of a cell, and the name of a run."""


def can_have(fault: str, calls: Sequence[str]) -> list[int]:
    """Returns the numbers of the calls that can have a fault."""
    kinds = CHANGES if fault in OF_CHANGES else OF_DATA if fault == "short" else {*calls}
    if fault == "EACCES":
        kinds = kinds - {"lock"}  # POSIX: another process has the lock
    return [number for number, call in enumerate(calls) if call in kinds]


def _blank(_: Figure, path: Path, **__: object) -> None:
    """Saves a picture of one pixel, by the calls of a whole one."""
    Image.new("L", (1, 1)).save(path, format="PNG")


def is_named(path: Path, message: str) -> bool:
    """Whether the first line of a message has a file, or the folder around it and no other file in it.

    The lines below may tell how to resume the run, whose name must not count. Nor must a word such as "run", so a
    folder, and a file without an ending, needs the name of what it is in.
    """
    line = message.partition("\n")[0]
    *_, outer, folder, name = ("", "", "", *path.parts[path.parts.index("place") + 1 :])
    if not name:  # the folder in which the command runs: any path is in it
        return ": " in line
    file = re.escape(re.sub(r"^\.([0-9a-f]{12}-)?", "", name))  # the whole file is to take the name behind that
    outer, folder = (re.escape(part.lstrip(".")) for part in (outer, folder))
    around = rf"{outer}/\.?{folder}".lstrip("/") if folder else ""
    if name.startswith(".new-"):  # the folder of a run that is about to get its name
        named = [rf"{folder}/[^/ ]+", folder]
    else:  # what is told of a folder may be a file in it
        file += r"(/\S+)?"
        named = [file if "." in name[1:] else rf"{folder}/\.?{file}".lstrip("/"), around]
    return any(re.search(rf"(?<![\w.-])\.?{one}(?![\w/-]|\.\w)", line) for one in named if one)


class Calls(Study):
    """Calls on files that fail, of which the name and the path are seen."""

    faults = (*FAULTS,)
    seen = ("call", "path")
    counted = ("call",)
    hit: tuple[str, Path] | None = None

    def __init__(self, server: Server, folder: Path) -> None:
        super().__init__(server, folder)
        patch.object(Figure, "savefig", _blank).start()  # to render figures takes half of the time of a run
        self.at: tuple[str, int] | None = None
        self.went_on: set[str] = set()

    def numbers(self, one: Prepared, fault: str) -> list[int]:
        return can_have(fault, [call for call, _ in one.calls])

    def kind(self, one: Prepared, number: int) -> tuple[str, str]:
        call, path = one.calls[number] if number < len(one.calls) else ("", "")
        inner = RUN.sub("runs/run", CELL.sub("cell", path.partition("/place/")[2]))
        return call, NUMBER.sub("0", inner)

    def disturbed(self, one: Prepared, number: int, fault: str) -> str:
        what, self.hit = FAULTS[fault], None
        if self.at != (one.name, number):
            self.at, self.went_on = (one.name, number), set()

        def run(place: Path) -> End:
            end = self.server.run(place, one.scenario.words, number, what)
            self.hit = self.server.interposer.hit
            return end

        def judged(end: End) -> str:
            if self.hit is None:
                return NOT_REACHED
            if end.code == -signal.SIGKILL and what == KILL:
                return "killed"
            if end.code == one.code:
                return RIGHT
            assert end.code == 5, f"exit code {end.code}\n{end.out}{end.err}"
            message = end.err.partition("\nerror: ")[2] or end.err
            told = os.strerror(what) if what > 0 else ""
            assert told in message, f"the message lacks the cause\n{end.err}"
            assert is_named(self.hit[1], message), f"the message lacks the file\n{end.err}"
            return "exit code 5"

        return disturbed(self.server, one, self.folder, run, judged, self.went_on)

    def what_was_seen(self) -> tuple[str, str]:
        call, path = self.hit or ("", Path())
        return call, str(path).partition("/place/")[2]


if __name__ == "__main__":
    sys.exit(main(Calls, __doc__))
