"""The newest run is found, whatever the times of the files are, and runs that have not changed are not read again."""

import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from onecycle_cli.run_dir.facts import iso, order
from onecycle_cli.run_dir.finding import all_runs
from onecycle_cli.run_dir.newest import FEW, NEWEST, newest_key
from onecycle_cli.run_dir.run import RunDir

Make = Callable[..., RunDir]

DAY = timedelta(days=1)


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """More folders than are read each time, last changed long ago or in the future; each holds one key."""
    for number in range(FEW + 2):
        keeping(tmp_path / f"run-{number}", f"2026-01-{number + 1:02}T00:00:00+00:00", 4e9 if number % 2 else 1e9)
    return tmp_path


def keeping(folder: Path, key: str, time: float) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "key").write_text(key)
    os.utime(folder, (time, time))


def read(folder: Path) -> Iterator[str]:
    yield (folder / "key").read_text()


def unread(folder: Path) -> Iterator[str]:
    raise AssertionError(f"{folder} is read again")


def test_a_folder_that_has_not_changed_is_not_read_again(many: Path) -> None:
    newest = newest_key(many, read)
    assert newest == f"2026-01-{FEW + 2}T00:00:00+00:00"
    assert newest_key(many, unread) == newest
    (many / "run-0/key").rename(many / "run-0/key-2")  # the newest may be inside of any of them, such as a sweep
    assert newest_key(many, lambda folder: ["2026-05-01" if folder.name == "run-0" else ""]) == "2026-05-01"


def test_a_run_that_came_or_went_is_noticed_whatever_its_time(many: Path) -> None:
    newest_key(many, read)
    keeping(many / "later", "2026-03-01T00:00:00+00:00", 5e8)
    assert newest_key(many, read) == "2026-03-01T00:00:00+00:00"
    keeping(many / "later", "2026-04-01T00:00:00+00:00", 4e8)
    assert newest_key(many, read) == "2026-04-01T00:00:00+00:00"
    (many / "later/key").unlink()
    assert newest_key(many, read) == f"2026-01-{FEW + 2}T00:00:00+00:00"


def test_a_folder_that_changed_just_now_is_read_again_since_it_may_change_within_its_tick(tmp_path: Path) -> None:
    for number in range(FEW + 2):
        (tmp_path / f"run-{number}").mkdir()
        (tmp_path / f"run-{number}/key").write_text("2026-01-01T00:00:00+00:00")
    newest_key(tmp_path, read)
    (tmp_path / "run-1/key").write_text("2026-02-01T00:00:00+00:00")
    assert newest_key(tmp_path, read) == "2026-02-01T00:00:00+00:00"


@pytest.mark.parametrize("written", [b"", b"{", b"[]", b"\xff", b'{"run-1": 1}', "a flipped bit", "a folder"])
def test_a_damaged_memory_is_none(many: Path, written: bytes | str) -> None:
    newest = newest_key(many, read)
    match written:
        case bytes():
            (many / NEWEST).write_bytes(written)
        case "a folder":
            (many / NEWEST).unlink()
            (many / NEWEST).mkdir()
        case _:
            (many / NEWEST).write_bytes((many / NEWEST).read_bytes().replace(b"2026-01", b"2027-01"))
    assert newest_key(many, read) == newest


def test_a_few_runs_are_read_and_leave_no_file(make: Make, tmp_path: Path) -> None:
    for _ in range(3):
        make()
    assert not (tmp_path / "runs" / NEWEST).exists()


def test_a_run_follows_all_others_when_they_are_remembered(make: Make, tmp_path: Path) -> None:
    """The clock was ahead of the last of many runs, and has been set right since."""
    runs = [make() for _ in range(FEW + 2)]
    ahead = datetime.fromisoformat(runs[-1].facts["started"]) + DAY
    runs[5].inner("cell", "a: 1\n").update(started=iso(ahead))
    for run in runs:
        os.utime(run.path, (1e9, 1e9))
    made = [make() for _ in range(3)]
    assert (tmp_path / "runs" / NEWEST).is_file()
    keys = [order(run.facts) for run in made]
    assert [iso(ahead), *keys] == sorted({iso(ahead), *keys})
    assert [run.path for run in all_runs(tmp_path / "runs")][-3:] == [run.path for run in made]
