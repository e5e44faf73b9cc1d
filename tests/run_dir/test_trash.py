"""The trash: what goes there comes back, and nothing is overwritten."""

import errno
import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.run_dir.finding import all_runs
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.trash import (
    bytes_in,
    delete_for_good,
    delete_rests,
    move_to_trash,
    must_be_removable,
    place_of,
    removed_runs,
    restore,
)


@pytest.fixture
def ended(make: Callable[..., RunDir]) -> Callable[[str], RunDir]:
    """Makes runs that have ended."""

    def new(name: str) -> RunDir:
        run = make(name=name)
        run.finish("finished", {"loss": 1.0})
        return run

    return new


Ended = Callable[[str], RunDir]


def files(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


def test_a_removed_run_is_in_the_trash_and_comes_back_unchanged(ended: Ended, tmp_path: Path) -> None:
    run, runs_dir = ended("mine"), tmp_path / "runs"
    before = files(run.path)
    removed = move_to_trash(run)
    assert not run.path.exists()
    assert all_runs(runs_dir) == []
    assert removed_runs(runs_dir) == [removed]
    assert (removed.name, removed.path.parent) == ("mine", runs_dir / ".trash")
    assert abs((removed.removed - datetime.now(UTC)).total_seconds()) < 3600
    assert [back.path for back in restore(runs_dir, ["mine"])] == [run.path]
    assert files(run.path) == before
    assert removed_runs(runs_dir) == []


def test_runs_of_one_name_are_kept_apart_and_restored_by_their_folder(ended: Ended, tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    first, second = move_to_trash(ended("a")), move_to_trash(ended("a"))
    assert first.path != second.path
    assert [one.name for one in removed_runs(runs_dir)] == ["a", "a"]
    with pytest.raises(InputError, match=f"has 2 runs 'a':\n  .*{first.path.name}"):
        restore(runs_dir, ["a"])
    with pytest.raises(InputError, match="There is a run"):
        restore(runs_dir, [first.path.name, second.path.name])
    restore(runs_dir, [second.path.name])
    assert removed_runs(runs_dir) == [first]


def test_restoring_overwrites_nothing_and_moves_nothing_if_one_cannot(ended: Ended, tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    for name in ("a", "b"):
        move_to_trash(ended(name))
    now = files(ended("b").path)
    with pytest.raises(InputError, match="There is a run .*b now"):
        restore(runs_dir, ["a", "b"])
    with pytest.raises(InputError, match="has no run 'c'"):
        restore(runs_dir, ["a", "c"])
    assert [run.path.name for run in all_runs(runs_dir)] == ["b"]
    assert files(runs_dir / "b") == now


def test_all_runs_come_back_or_none_if_the_disk_fails(
    ended: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b"):
        move_to_trash(ended(name))
    before, flushed = files(tmp_path / "runs"), list[int]()

    def failing(descriptor: int) -> None:
        flushed.append(descriptor)
        if len(flushed) == 3:  # the first run has flushed the trash and the runs
            raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing)
        with pytest.raises(OSError, match="Input/output error"):
            restore(tmp_path / "runs", ["a", "b"])
    assert files(tmp_path / "runs") == before
    assert [run.path.name for run in restore(tmp_path / "runs", ["a", "b"])] == ["a", "b"]


def test_a_run_with_a_time_for_its_name_comes_back_under_it(ended: Ended, tmp_path: Path) -> None:
    name = "20261129-155233-train-digits"
    move_to_trash(ended(name))
    assert [run.path.name for run in restore(tmp_path / "runs", [name])] == [name]


def test_what_cannot_be_removed_is_told(ended: Ended, make: Callable[..., RunDir], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is running"):
        move_to_trash(make(name="running"))
    sweep = ended("sweep")
    cell = sweep.inner("seed=0", "a: 1\n")
    cell.update(status="finished")
    with pytest.raises(InputError, match="is a part of the run"):
        must_be_removable(cell)
    (tmp_path / "runs" / "link").symlink_to(sweep.path)
    with pytest.raises(InputError, match="is a link to"):
        must_be_removable(RunDir(tmp_path / "runs" / "link"))
    removed = move_to_trash(sweep)
    with pytest.raises(InputError, match="is in the trash already"):
        move_to_trash(RunDir(removed.path))


def test_a_trash_on_another_disk_is_refused(ended: Ended, tmp_path: Path) -> None:
    run = ended("a")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "runs" / ".trash").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link"):
        move_to_trash(run)
    assert run.path.is_dir()


def test_deleting_takes_what_is_named_and_what_a_killed_command_left(ended: Ended, tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    delete_rests(runs_dir)  # there is no trash yet
    first, second = move_to_trash(ended("a")), move_to_trash(ended("b"))
    outside = tmp_path / "outside"
    outside.mkdir()
    (first.path / "link").symlink_to(outside)
    delete_for_good([first])
    assert removed_runs(runs_dir) == [second]
    assert outside.is_dir()
    (runs_dir / ".trash" / ".deleting-1").mkdir()
    (runs_dir / ".trash" / "20269999-000000-no-time").mkdir()
    (runs_dir / ".trash" / "of a person").mkdir()
    assert removed_runs(runs_dir) == [second]
    delete_rests(runs_dir)
    names = {path.name for path in (runs_dir / ".trash").iterdir()}
    assert names == {second.path.name, "20269999-000000-no-time", "of a person"}


def test_a_run_that_is_named_from_inside_goes_to_the_trash_beside_it(
    ended: Ended, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, other = ended("mine"), ended("other")
    cell = run.inner("seed=0", "a: 1\n")
    cell.update(status="finished")
    (cell.path / "deeper").mkdir()
    monkeypatch.chdir(cell.path / "deeper")
    with pytest.raises(InputError, match="is a part of the run"):
        move_to_trash(RunDir(".."))
    (tmp_path / "runs" / "link").symlink_to(other.path)
    with pytest.raises(InputError, match="is a link to"):
        must_be_removable(RunDir("../../../link"))
    removed = move_to_trash(RunDir("../.."))
    assert (removed.name, removed.path.parent) == ("mine", tmp_path / "runs" / ".trash")
    assert not (removed.path / ".trash").exists()


def test_dots_behind_a_link_mean_the_folder_around_its_target(ended: Ended, tmp_path: Path) -> None:
    run = ended("mine")
    (run.path / "inner").mkdir()
    (tmp_path / "link").symlink_to(run.path / "inner")
    assert place_of(RunDir(tmp_path / "link" / "..")) == run.path


def test_a_link_and_a_file_in_the_trash_are_deleted_and_not_what_the_link_leads_to(
    ended: Ended, tmp_path: Path
) -> None:
    trash, outside = tmp_path / "runs" / ".trash", tmp_path / "outside"
    removed = move_to_trash(ended("a"))
    outside.mkdir()
    (outside / "kept").write_bytes(bytes(1000))
    (trash / "20260101-000000-link").symlink_to(outside)
    (trash / "20260101-000000-nowhere").symlink_to(tmp_path / "nowhere")
    (trash / "20260101-000000-file").write_bytes(bytes(7))
    (trash / ".deleting-1").symlink_to(outside)  # where an earlier version stopped
    sizes = {one.name: bytes_in(one.path) for one in removed_runs(tmp_path / "runs")}
    assert (sizes["file"], sizes["link"] < 1000) == (7, True)
    delete_for_good(removed_runs(tmp_path / "runs"))
    assert list(trash.iterdir()) == []
    assert not removed.path.exists()
    assert (outside / "kept").is_file()


def test_the_size_is_that_of_all_files(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a").write_bytes(bytes(10))
    (tmp_path / "inner" / "b").write_bytes(bytes(5))
    assert bytes_in(tmp_path) == 15
