"""What a power cut may leave: the replay itself, and the files of a run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from interposer import Entry, build, compiler
from power_cut import Counts, Disk, files_of, replayed, states

POWER_CUT = Path(__file__).with_name("power_cut.py")
needs_compiler = pytest.mark.skipif(compiler() is None, reason="needs a C compiler, on Linux")

A_RUN = """
import ctypes, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from interposer import Interposer
from onecycle_cli.run_dir.run import RunDir
calls = Interposer(Path(os.environ["LD_PRELOAD"]))
calls.set()
calls.start([Path.cwd()], Path(sys.argv[2]))
run = RunDir.create(Path("runs/deep"), command="train", recipe_name="r", recipe_yaml="a: 1", facts={}, name="run")
with run.recording(), run.table("steps.csv", ("step", "loss")) as table:
    for step in range(3):
        table.append([{"step": step, "loss": 0.5}])
        run.update(step=step)
    run.finish("finished", {"loss": 0.5})
"""


def recorded(tmp_path: Path, program: str) -> tuple[bytes, Path]:
    """Runs a Python program in a folder of its own; returns the record of its calls, and the folder."""
    place, library = tmp_path / "place", build(tmp_path)
    place.mkdir()
    known = {"LD_PRELOAD": str(library), "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONSAFEPATH": "1"}
    words = [sys.executable, "-c", program, str(POWER_CUT.parent), str(tmp_path / "record")]
    subprocess.run(words, cwd=place, env={**os.environ, **known}, check=True)
    return (tmp_path / "record").read_bytes(), place


@needs_compiler
def test_a_run_is_whole_after_a_power_cut_at_any_moment_and_there_when_it_has_ended(tmp_path: Path) -> None:
    record, place = recorded(tmp_path, A_RUN)
    (tmp_path / "empty").mkdir()
    counts = Counts()
    seen = [files for _, files in replayed(record, Disk(place, tmp_path / "empty"), counts)]
    assert counts.moments > 30
    assert any("runs/deep/run/run.json" not in files for files in seen)
    assert any(files.get("runs/deep/run/steps.csv") == b"step,loss\n0,0.5\n" for files in seen)


@needs_compiler
def test_what_is_not_flushed_is_lost(tmp_path: Path) -> None:
    writes = "Path('runs').mkdir(); Path('runs/.a').write_text('a'); Path('runs/.a').rename('runs/a')\n"
    record, place = recorded(tmp_path, A_RUN.partition("run = ")[0] + writes)
    (tmp_path / "empty").mkdir()
    with pytest.raises(AssertionError, match="runs/a is not whole: b''"):
        list(replayed(record, Disk(place, tmp_path / "empty"), Counts()))


def of(call: str, first: str = "", fd: int = -1, second: str = "", data: bytes = b"", offset: int = 0) -> Entry:
    return Entry(call, fd, os.O_CREAT | os.O_WRONLY if call == "open" else 0, offset, first, second, data)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """A disk with one file, old, that is being replaced: its new content is flushed, its new name is not."""
    (tmp_path / "a").write_bytes(b"old")
    disk = Disk(Path("/d"), tmp_path)
    for entry in (of("open", "/d/.a", 3), of("write", "/d/.a", 3, data=b"new!"), of("fsync", "/d/.a", 3)):
        disk.apply(entry)
    disk.apply(of("rename", "/d/.a", second="/d/a"))
    return disk


def test_a_name_that_is_not_flushed_is_the_old_or_the_new_one(disk: Disk) -> None:
    assert {files["a"] for files in states(disk)} == {b"old", b"new!"}
    for entry in (of("open", "/d", 4), of("fsync", "/d", 4)):
        disk.apply(entry)
    assert list(states(disk)) == [{"a": b"new!"}]


def test_content_that_is_not_flushed_may_be_there_in_part(disk: Disk) -> None:
    for entry in (of("open", "/d/a", 5), of("write", "/d/a", 5, data=b"+1", offset=4)):
        disk.apply(entry)
    disk.apply(of("write", "/d/a", 5, data=b"+2", offset=6))
    assert {files["a"] for files in states(disk)} == {
        *(b"old", b"new!", b"new!+1+2", b"new!+1+", b"new!\0\0+2"),
    }


def test_a_folder_takes_its_files_along(tmp_path: Path) -> None:
    disk = Disk(Path("/d"), tmp_path)
    for entry in (of("mkdir", "/d/.new"), of("open", "/d/.new/f", 3), of("write", "/d/.new/f", 3, data=b"x")):
        disk.apply(entry)
    disk.apply(of("rename", "/d/.new", second="/d/run"))
    assert files_of(disk.top, "all", disk.pending) == {"run/f": b"x"}
    assert disk.whole["run/f"] == {b"x"}
    assert {"run/f": b""} in list(states(disk))


@pytest.mark.slow
@needs_compiler
def test_trainings_and_sweeps_go_on_after_power_cuts() -> None:
    done = subprocess.run([sys.executable, POWER_CUT, "--resume-every", "200"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "train: " in done.stdout
