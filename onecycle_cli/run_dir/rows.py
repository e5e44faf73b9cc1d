"""Where the rows of a run's tables go: to a CSV file (`writing.Table`), or nowhere.

TensorBoard, MLflow and W&B get their rows from the CSV files, in a process of their own: `receivers/`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, Self

Row = Mapping[str, Any]


class Rows(Protocol):
    """The rows of one table of a run, in order; a context manager that closes the table."""

    def append(self, rows: Iterable[Row]) -> None:
        """Appends rows; each has a value or None for every column."""

    def to_disk(self) -> None:
        """Returns after all rows so far are safe from a power loss."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...


class DiscardedRows:
    """A table that writes nothing, as all processes of a training but the first have."""

    def append(self, rows: Iterable[Row]) -> None:
        """Takes the rows, which may do work when they are made, as a written table does."""
        for _ in rows:
            pass

    def to_disk(self) -> None:
        """Does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Does nothing."""
