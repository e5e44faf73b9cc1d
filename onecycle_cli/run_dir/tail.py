"""Reading of a table that grows, or is written again, while another process reads it."""

import csv
import os
from io import StringIO
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

from onecycle_cli.errors import naming

AT_ONCE = 200_000
"""The most bytes that are read at once: some thousand rows."""


class Tail:
    """The rows of a table of numbers, from the first to those that are yet to come.

    `row` is the number of the row that comes next. If another file takes the table's place, as when a training is
    resumed, reading goes on where it was, or begins anew if the new table does not begin with the rows that were taken:
    `was_replaced` says so.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.was_replaced = path, False
        self._restart()

    def _restart(self) -> None:
        self._inode, self._columns = -1, ""
        self._start, self._sum, self._read, self.row = 0, 0, b"", 0
        self._rows = 0

    def next(self) -> list[dict[str, str]]:
        """Returns complete rows that were not taken yet, not always all of them; empty if there is none."""
        try:
            with naming(self._path), self._path.open("rb") as file:
                self._find(file)
                file.seek(self._start)
                found = file.read(AT_ONCE)
        except FileNotFoundError:
            return []
        complete = found[: found.rfind(b"\n") + 1]
        if not self._columns and complete:
            end = complete.index(b"\n") + 1
            self._columns, complete = complete[:end].decode("utf-8", "replace"), self._pass(complete, end)
        rows = list(csv.DictReader(StringIO(self._columns + complete.decode("utf-8", "replace"))))
        self._read, self._rows = complete, len(rows)
        return rows

    def _find(self, file: BinaryIO) -> None:
        """Notices that another file has taken the table's place."""
        inode = os.fstat(file.fileno()).st_ino
        if inode != self._inode:
            if crc32(file.read(self._start)) != self._sum:
                self.was_replaced = self.was_replaced or self.row > 0
                self._restart()
            self._inode = inode

    def _pass(self, found: bytes, end: int) -> bytes:
        self._start, self._sum = self._start + end, crc32(found[:end], self._sum)
        return found[end:]

    def take(self) -> None:
        """Takes the rows of the last `next`."""
        self._pass(self._read, len(self._read))
        self.row += self._rows
        self._read, self._rows = b"", 0

    @property
    def time(self) -> float:
        """When the table was last written, in seconds since 1970."""
        return self._path.stat().st_mtime
