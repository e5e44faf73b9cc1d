"""Rows go to every receiver."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from onecycle_cli.run_dir import rows as module
from onecycle_cli.run_dir.rows import Row, Rows
from onecycle_cli.run_dir.writing import Table


class Kept:
    """A receiver that keeps what it was given."""

    made: ClassVar[list["Kept"]] = []

    def __init__(self, path: Path, columns: Sequence[str], keep: int | None) -> None:
        self.asked = (path, tuple(columns), keep)
        self.rows: list[Any] = []
        self.calls: list[str] = []
        self.made.append(self)

    def append(self, rows: Sequence[Row]) -> None:
        self.rows += rows

    def to_disk(self) -> None:
        self.calls.append("to_disk")

    def close(self) -> None:
        self.calls.append("close")


def test_another_receiver_has_the_rows_that_the_csv_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECEIVERS", (Table, Kept))
    monkeypatch.setattr(Kept, "made", [])
    with Rows(tmp_path / "a.csv", ("n", "x")) as rows:
        rows.append({"n": n, "x": n / 2} for n in range(3))
        rows.to_disk()
    (kept,) = Kept.made
    assert kept.asked == (tmp_path / "a.csv", ("n", "x"), None)
    assert kept.rows == [{"n": 0, "x": 0.0}, {"n": 1, "x": 0.5}, {"n": 2, "x": 1.0}]
    assert kept.calls == ["to_disk", "close"]
    assert (tmp_path / "a.csv").read_text() == "n,x\n0,0\n1,0.5\n2,1\n"


def test_rows_that_are_there_are_kept_up_to_a_number(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("n\n1\n2\n3\n")
    with Rows(tmp_path / "a.csv", ("n",), keep=2) as rows:
        rows.append([{"n": 9}])
    assert (tmp_path / "a.csv").read_text() == "n\n1\n2\n9\n"
