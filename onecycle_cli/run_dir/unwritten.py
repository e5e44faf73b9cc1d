"""The run of a process that must not write its folder, because another process of the same training does."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from onecycle_cli.run_dir.files import RUN, SUMMARY
from onecycle_cli.run_dir.rows import DiscardedRows, Rows
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.writing import json_ready


class UnwrittenRun(RunDir):
    """A run that keeps its JSON objects in memory, with the given facts at first, and writes and locks nothing.

    `path` is the folder of the run on the machine that writes it, for messages.
    """

    def __init__(self, path: Path, facts: Mapping[str, Any]) -> None:
        super().__init__(path)
        self._objects: dict[str, dict[str, Any]] = {RUN: dict(facts)}

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Locks nothing."""
        yield

    @property
    def summary(self) -> dict[str, Any]:
        """The summary that was written here; empty before."""
        return self._objects.get(SUMMARY, {})

    def read_json(self, name: str, facts: Mapping[str, Any] | None = None) -> dict[str, Any]:  # noqa: ARG002
        """Returns the JSON object that was written under `name`."""
        return self._objects[name]

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Keeps a JSON object."""
        self._objects[name] = json_ready(value)

    def write_text(self, name: str, text: str) -> None:
        """Writes nothing."""

    def write_with(self, name: str, write: Callable[[Path], object]) -> None:
        """Writes nothing."""

    def table(self, name: str, columns: Sequence[str], keep: int | None = None) -> Rows:  # noqa: ARG002
        """Returns a table whose rows are discarded."""
        return DiscardedRows()

    def _sums(self) -> dict[str, str]:
        return {}

    def rename(self, name: str, new_name: str) -> None:
        """Renames nothing."""
