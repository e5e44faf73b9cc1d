"""A disk that is full, a limit on file sizes, a folder that vanishes: a clear error, and what was whole stays."""

import os
import resource
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import Result

Command = Callable[..., Result]
KEPT = ("steps.csv", "model.safetensors")


@pytest.fixture
def words(tiny_digits: list[str]) -> list[str]:
    """A training of some seconds with a checkpoint of 600 kB after each step."""
    settings = {"model.width": 1, "schedule.epochs": 4, "runtime.checkpoint_seconds": 0}
    return [
        "train",
        *tiny_digits,
        *(word for field, value in settings.items() for word in ("--set", f"{field}={value}")),
    ]


@pytest.fixture
def disturbed(onecycle: Command, words: list[str]) -> Callable[[Path, Callable[[], object]], Result]:
    """Trains in this process, and from another thread does something when there are two checkpoints."""

    def run_it(runs: Path, then: Callable[[], object]) -> Result:
        ended = threading.Event()

        def disturb() -> None:
            while not ended.wait(0.01):
                if len(list(runs.glob("full/checkpoint-*"))) >= 2:
                    then()
                    return

        thread = threading.Thread(target=disturb)
        thread.start()
        try:
            return onecycle(*words, "--runs-dir", runs, "--name", "full")
        finally:
            ended.set()
            thread.join()

    return run_it


@pytest.fixture(scope="module")
def undisturbed() -> dict[str, bytes]:
    """What a training that nothing stops leaves; filled by the first test that asks."""
    return {}


def must_be_as_undisturbed(onecycle: Command, words: list[str], run: Path, undisturbed: dict[str, bytes]) -> None:
    assert onecycle("train", "--resume", run).exit_code == 0
    if not undisturbed:
        assert onecycle(*words, "--name", "whole").exit_code == 0
        undisturbed.update({name: (Path("runs/whole") / name).read_bytes() for name in KEPT})
    assert {name: (run / name).read_bytes() for name in KEPT} == undisturbed


def test_a_limit_on_file_sizes_ends_the_run_which_resumes_from_the_checkpoint_before(
    onecycle: Command, tmp_path: Path, words: list[str], disturbed: Callable, undisturbed: dict[str, bytes]
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        ended = disturbed(tmp_path / "runs", lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1])))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    run = tmp_path / "runs" / "full"
    assert ended.exit_code == 5
    assert "File too large" in ended.stderr
    assert "checkpoint-" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert "train --resume" in ended.stderr
    assert not list(run.glob(".checkpoint-*"))
    must_be_as_undisturbed(onecycle, words, run, undisturbed)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, of 1.6 MB, in which two of the checkpoints have room and a third has not."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1600k", "tmpfs", str(path)]
    try:
        mounted = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        mounted = False
    if not mounted:
        pytest.skip("a file system can be mounted by root alone, and not in every container")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_full_disk_ends_the_run_which_resumes_when_there_is_room(
    onecycle: Command, small_disk: Path, words: list[str], undisturbed: dict[str, bytes]
) -> None:
    ended = onecycle(*words, "--runs-dir", small_disk, "--name", "full")
    assert ended.exit_code == 5
    assert "No space left on device" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(list(small_disk.glob("full/checkpoint-*"))) == 2
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    must_be_as_undisturbed(onecycle, words, small_disk / "full", undisturbed)


def test_a_disk_that_cannot_be_written_to_is_told(onecycle: Command, small_disk: Path, words: list[str]) -> None:
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    result = onecycle(*words, "--runs-dir", small_disk)
    assert (result.exit_code, "Read-only file system" in result.stderr) == (5, True)
    assert "Choose another folder" in result.stderr


def test_a_run_whose_folder_vanishes_ends_with_a_clear_error(tmp_path: Path, disturbed: Callable) -> None:
    ended = disturbed(tmp_path / "runs", lambda: (tmp_path / "runs" / "full").rename(tmp_path / "elsewhere"))
    assert ended.exit_code == 5
    assert "No such file or directory" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.fixture
def obeying() -> list[str]:
    """Words before a command that have it keep to permissions, which root need not."""
    if os.geteuid() != 0:
        return []
    if shutil.which("setpriv") is None:
        pytest.skip("root may write anywhere, and there is no setpriv to take that from it")
    return ["setpriv", "--bounding-set=-dac_override", "--inh-caps=-dac_override"]


@pytest.mark.parametrize("mode", [0o500, 0o000])
def test_a_folder_without_permission_is_told(tmp_path: Path, obeying: list[str], words: list[str], mode: int) -> None:
    (tmp_path / "runs").mkdir(mode=mode)
    command = [*obeying, sys.executable, "-m", "onecycle_cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 5, done.stderr
    assert "Permission denied: runs." in done.stderr
    assert "change its permissions" in done.stderr
    assert "Traceback" not in done.stderr
    assert list((tmp_path / "runs").iterdir()) == []
