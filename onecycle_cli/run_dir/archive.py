"""The archive of packed runs: its format, and what may be in it.

It is a tar archive, compressed by gzip. Its first member, `LIST`, is a JSON object with the names of the runs, and with
the path, size and SHA-256 of every file. The files follow in that order. The same runs give the same bytes.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from onecycle_cli.run_dir.files import RUN

LIST = "onecycle-runs.json"
"""The name of the first member, which lists the others."""

FORMAT = 1
"""The version of the format, which the list begins with."""

PACKED_NAME = r"[A-Za-z0-9][A-Za-z0-9._=,-]*"
"""The pattern of the name of a run that can be packed: also a cell of a sweep, whose name may hold commas."""

LONGEST_NAME = 200
"""The longest name of a file, in bytes. Most systems take 255, and a temporary name is longer."""

DEEPEST = 12
"""The most parts of the path of a file. A sweep inside a tuning has four."""

MOST_FILES = 100_000

LONGEST_LIST = 2**25
"""The largest size of the list, in bytes."""

MOST_COMPRESSED = 200
UNSUSPICIOUS = 2**30
"""An archive may unpack to at most `MOST_COMPRESSED` times its size, or to `UNSUSPICIOUS` bytes if that is more.

Weights can hardly be compressed and tables by a factor of five, while zeros shrink by a factor of a thousand."""

BLOCK = 2**20
"""How many bytes of a file are read at once."""


@dataclass(frozen=True)
class PackedFile:
    """A file in an archive: its path, which begins with the name of its run, its size in bytes, and its hash."""

    path: str
    size: int
    sha256: str


class Unsafe(Exception):
    """What is wrong with an archive, as a sentence without its full stop."""


def must_be_safe(names: Sequence[str], packed: Sequence[PackedFile]) -> None:
    """Checks that runs of these names with these files can be written on Linux and macOS, each file in its run.

    Raises `Unsafe` if not.
    """
    paths = {one.path for one in packed}
    if not names or len({*names}) < len(names) or len(paths) < len(packed):
        raise Unsafe("It has no run, or the same name twice")
    if len(packed) > MOST_FILES:
        raise Unsafe(f"It has more than {MOST_FILES:,} files")
    for name in names:
        if not re.fullmatch(PACKED_NAME, name) or len(name) > LONGEST_NAME:
            raise Unsafe(f"'{name}' cannot be the name of a run")
        if f"{name}/{RUN}" not in paths:
            raise Unsafe(f"'{name}' is not a run: it has no {RUN}")
    spelled: dict[str, str] = {}
    for path in sorted(paths):
        _must_be_safe_path(path, names)
        for known in _with_folders(path):
            folded = unicodedata.normalize("NFC", known.rstrip("/")).casefold()
            if spelled.setdefault(folded, known) != known:
                raise Unsafe(f"'{known}' and '{spelled[folded]}' are the same name on some systems")


def _must_be_safe_path(path: str, names: Sequence[str]) -> None:
    parts = path.split("/")
    if parts[0] not in names or len(parts) > DEEPEST:
        raise Unsafe(f"'{path}' is not in one of its runs, or in too many folders")
    for part in parts:
        begins_well = part[:1] not in ("", ".") and part.isprintable() and "\\" not in part
        if not begins_well or len(part.encode()) > LONGEST_NAME:
            raise Unsafe(f"'{path}' has the part '{part}', which cannot be the name of a file everywhere")


def _with_folders(path: str) -> Iterator[str]:
    """Yields the folders above a path, and the path. A folder ends in "/", to differ from a file of its name."""
    parts = path.split("/")
    yield from (f"{'/'.join(parts[:end])}/" for end in range(1, len(parts)))
    yield path


def must_shrink_as_runs_do(packed: Sequence[PackedFile], archive: Path) -> None:
    """Checks that the files were not made to fill a disk when they are unpacked; raises `Unsafe` if they seem to be."""
    if sum(one.size for one in packed) > max(UNSUSPICIOUS, MOST_COMPRESSED * archive.stat().st_size):
        raise Unsafe("Its files are so much larger than the archive that it could be made to fill a disk")
