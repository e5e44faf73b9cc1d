"""Where the rows of a run's tables go: to a CSV file always, and to every other receiver in `RECEIVERS`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from onecycle_cli.run_dir.writing import Table

Row = Mapping[str, Any]


class RowReceiver(Protocol):
    """Takes the rows of one table of a run, in their order."""

    def append(self, rows: Sequence[Row]) -> None:
        """Takes some rows; each has a value, or None, for every column."""

    def to_disk(self) -> None:
        """Returns once all rows so far are safe from a loss of power."""

    def close(self) -> None:
        """Is called once, after the last row."""


RECEIVERS: tuple[Callable[[Path, Sequence[str], int | None], RowReceiver], ...] = (Table,)
"""What receives rows. Each is called with the table's path, its columns, and the rows to keep of one that is there."""


class Rows:
    """The rows of one table of a run, for all receivers; a context manager that closes them.

    `keep` is the number of rows to keep of a table that is there already; None for a new table.
    """

    def __init__(self, path: Path, columns: Sequence[str], keep: int | None = None) -> None:
        self.columns = columns
        self._receivers = [receiver(path, columns, keep) for receiver in RECEIVERS]

    def append(self, rows: Iterable[Row]) -> None:
        """Hands rows to every receiver; each row has a value, or None, for every column."""
        rows = list(rows)
        for receiver in self._receivers:
            receiver.append(rows)

    def to_disk(self) -> None:
        """Waits until all rows so far would outlast a loss of power."""
        for receiver in self._receivers:
            receiver.to_disk()

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *_: object) -> None:
        for receiver in self._receivers:
            receiver.close()
