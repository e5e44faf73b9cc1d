"""Packing: the same runs give the same bytes, and nothing that could not be unpacked."""

import gzip
import hashlib
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.run_dir.packing import pack
from onecycle_cli.run_dir.run import RunDir

Make = Callable[..., RunDir]


@pytest.fixture
def runs(make: Make) -> list[RunDir]:
    """A run and a sweep with a cell, both at their end."""
    one, sweep = make(name="one"), make("sweep", name="swept")
    (one.path / "model.safetensors").write_bytes(bytes(range(256)) * 10)
    sweep.inner("weight_decay=1e-3,seed=0", "a: 1\n").update(status="finished")
    (sweep.path / ".weight_decay=1e-3,seed=0.lock").touch()
    for run in (one, sweep):
        run.update(status="finished")
    return [one, sweep]


def test_an_archive_is_a_list_with_hashes_and_the_files_in_that_order(runs: list[RunDir], tmp_path: Path) -> None:
    packed = pack(runs, tmp_path / "x.tar.gz")
    cell = "swept/weight_decay=1e-3,seed=0"
    paths = ["one/model.safetensors", "one/recipe.yaml", "one/run.json", "swept/recipe.yaml", "swept/run.json"]
    paths += [f"{cell}/recipe.yaml", f"{cell}/run.json"]
    assert [one.path for one in packed] == paths
    with tarfile.open(tmp_path / "x.tar.gz") as tar:
        members = tar.getmembers()
        assert [member.name for member in members] == ["onecycle-runs.json", *paths]
        assert all(member.isreg() and member.mode == 0o644 and member.mtime == member.uid == 0 for member in members)
        contents = [tar.extractfile(member).read() for member in members]
    listed = json.loads(contents[0])
    assert (listed["format"], listed["runs"]) == (1, ["one", "swept"])
    for one, told, content in zip(packed, listed["files"], contents[1:], strict=True):
        assert content == (tmp_path / "runs" / one.path).read_bytes()
        assert told == vars(one)
        assert (one.size, one.sha256) == (len(content), hashlib.sha256(content).hexdigest())


def test_the_same_runs_give_the_same_bytes(runs: list[RunDir], tmp_path: Path) -> None:
    pack(runs, tmp_path / "x.tar.gz")
    for path in (tmp_path / "runs").rglob("*"):
        os.utime(path, (1, 1))
    (runs[0].path / "recipe.yaml").chmod(0o600)
    pack(runs[::-1], tmp_path / "other.tar.gz")
    packed = (tmp_path / "x.tar.gz").read_bytes()
    assert packed == (tmp_path / "other.tar.gz").read_bytes()
    assert packed[3:8] == bytes(5)  # no name of a file, no time


def test_what_cannot_be_packed_is_told_and_leaves_no_file(runs: list[RunDir], make: Make, tmp_path: Path) -> None:
    one, file = runs[0], tmp_path / "x.tar.gz"

    def refused(says: str, *packed: RunDir) -> None:
        with pytest.raises(InputError, match=says):
            pack(packed or runs, file)
        assert not [path for path in tmp_path.iterdir() if path.name != "runs"]

    refused("is running", make(name="running"))
    refused("Two of the runs are called 'one'", one, one)
    (one.path / "link").symlink_to("/etc/passwd")
    refused("link is a link, which is not followed")
    (one.path / "link").unlink()
    os.mkfifo(one.path / "pipe")
    refused("pipe is neither a file nor a folder")
    (one.path / "pipe").unlink()
    (one.path / "a\\b").touch()
    refused("cannot be the name of a file everywhere")
    (one.path / "a\\b").unlink()
    (one.path / "RUN.json").touch()
    refused("same name on some systems")


def test_links_within_a_run_are_left_out_as_wandb_makes_them(runs: list[RunDir], tmp_path: Path) -> None:
    folder = runs[0].path / "wandb" / "offline-run-1"
    folder.mkdir(parents=True)
    (folder / "run.wandb").write_text("rows")
    (folder.parent / "latest-run").symlink_to("offline-run-1")
    (folder.parent / "debug.log").symlink_to("offline-run-1/debug.log")  # which is not there
    packed = [one.path for one in pack(runs, tmp_path / "x.tar.gz")]
    assert [path for path in packed if "wandb" in path] == ["one/wandb/offline-run-1/run.wandb"]


def test_a_link_in_the_place_of_a_file_of_the_run_is_not_left_out(runs: list[RunDir], tmp_path: Path) -> None:
    (runs[0].path / "steps.csv").symlink_to("run.json")
    with pytest.raises(InputError, match="steps.csv is a link"):
        pack(runs, tmp_path / "x.tar.gz")


def test_a_file_that_exists_is_not_overwritten(runs: list[RunDir], tmp_path: Path) -> None:
    (tmp_path / "x.tar.gz").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        pack(runs, tmp_path / "x.tar.gz")
    with pytest.raises(InputError, match="There is no folder"):
        pack(runs, tmp_path / "nowhere" / "x.tar.gz")
    assert (tmp_path / "x.tar.gz").read_text() == "mine"


@pytest.mark.parametrize("change", [b"longer than it was", b"x", b"was that"])
def test_a_file_that_changes_meanwhile_is_told(
    runs: list[RunDir], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: bytes
) -> None:
    notes = runs[0].path / "notes.txt"
    notes.write_bytes(b"was thus")
    open_gzip = gzip.GzipFile

    def then(*words: object, **more: object) -> object:  # after the files are measured, before they are written
        notes.write_bytes(change)
        return open_gzip(*words, **more)  # type: ignore[call-overload]

    monkeypatch.setattr(gzip, "GzipFile", then)
    with pytest.raises(InputError, match="notes.txt has changed while it was packed"):
        pack(runs, tmp_path / "x.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]
