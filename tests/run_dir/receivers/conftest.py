"""What the tests of receivers start from."""

import csv
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from onecycle_cli.experiments import following
from onecycle_cli.run_dir.receivers.receiver import Card
from onecycle_cli.run_dir.run import RunDir


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine is no failure."""
    monkeypatch.setattr(following, "WITHIN_SECONDS", 600.0)


@pytest.fixture
def card(tmp_path: Path) -> Callable[..., Card]:
    """Makes a card of the run in `folder`: `card(key="other")`."""

    def make(**changed: Any) -> Card:
        known: dict[str, Any] = {"key": "0123456789abcdef", "folder": tmp_path / "a", "command": "train"}
        known |= {"group": None, "parent": None, "started": datetime(2026, 1, 1, tzinfo=UTC), "running": True}
        known |= {"parameters": {}, "tags": {}}
        (tmp_path / "a").mkdir(exist_ok=True)
        return Card(**(known | changed))

    return make


@pytest.fixture
def columns() -> Callable[[RunDir, str], dict[str, list[tuple[int, float]]]]:
    """The columns of a run's table by the name that receivers have them under, as pairs of step and value."""

    def read(run: RunDir, table: str) -> dict[str, list[tuple[int, float]]]:
        with (run.path / table).open() as file:
            rows = list(csv.DictReader(file))
        names = [name for name in rows[0] if name not in ("step", "epoch")]
        return {
            f"{Path(table).stem}/{name}": [(int(row["step"]), float(row[name])) for row in rows if row[name]]
            for name in names
            if any(row[name] for row in rows)
        }

    return read
