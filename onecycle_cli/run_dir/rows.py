"""Output of the rows of a run's tables: always to a CSV file, and to every other receiver in `RECEIVERS`."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from onecycle_cli.run_dir.writing import Table

Row = Mapping[str, Any]


class RowReceiver(Protocol):
    """A receiver of the rows of one table of a run, in order."""

    def append(self, rows: Sequence[Row]) -> None:
        """Receives rows; each has a value or None for every column."""

    def to_disk(self) -> None:
        """Returns after all rows so far are safe from a power loss."""

    def close(self) -> None:
        """Releases resources; called once, after the last row."""


Receiver = Callable[[Path, Sequence[str], int | None], RowReceiver]
"""A factory of receivers. It is called with the table's path, its columns, and the number of rows to keep of an
existing table (None for a new table)."""

RECEIVERS: tuple[Receiver, ...] = (Table,)
"""The factories of the receivers of every table that is written."""


class Rows:
    """The rows of one table of a run, sent to all receivers; a context manager that closes the receivers.

    `keep` is the number of rows to keep of an existing table; None for a new table. `receivers` are `RECEIVERS` unless
    others are given.
    """

    def __init__(
        self,
        path: Path,
        columns: Sequence[str],
        keep: int | None = None,
        receivers: Sequence[Receiver] | None = None,
    ) -> None:
        self.columns = columns
        self._receivers = [
            receiver(path, columns, keep) for receiver in (RECEIVERS if receivers is None else receivers)
        ]

    def append(self, rows: Iterable[Row]) -> None:
        """Sends rows to every receiver; each row has a value or None for every column."""
        rows = list(rows)
        for receiver in self._receivers:
            receiver.append(rows)

    def to_disk(self) -> None:
        """Returns after all rows so far are safe from a power loss, in every receiver."""
        for receiver in self._receivers:
            receiver.to_disk()

    def __enter__(self) -> "Rows":
        return self

    def __exit__(self, *_: object) -> None:
        for receiver in self._receivers:
            receiver.close()
