"""The short form of `make faults`, and its own parts."""

import argparse
import csv
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from commands import SCENARIOS, Prepared, state_of
from faults import FAULTS, Calls, can_have, is_named
from interposer import compiler
from jobs import jobs_of

SCRIPT = Path(__file__).with_name("faults.py")
needs_compiler = pytest.mark.skipif(compiler() is None, reason="needs a C compiler, on Linux")


def run_faults(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, SCRIPT, *map(str, words)], capture_output=True, text=True, check=False)


def rows(log: Path) -> list[dict[str, str]]:
    with log.open(newline="") as file:
        return list(csv.DictReader(file))


@needs_compiler
def test_a_training_survives_some_faults_of_each_kind(tmp_path: Path) -> None:
    """A shuffled sample of all calls of a training; `make faults` makes each of them fail."""
    log = tmp_path / "faults.csv"
    counts = tmp_path / "counts.csv"
    done = run_faults("--command", "train", "--every", 250, "--log", log, "--counts", counts)
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(rows(log)) >= 12
    assert sum(int(row["faults"]) for row in rows(counts)) == len(rows(log))
    assert {row["end"] for row in rows(log)} >= {"exit code 5", "right result"}


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("command", ["find-lr", "resume", "sweep", "tune"])
def test_each_command_survives_some_faults_and_they_go_on_where_they_stopped(tmp_path: Path, command: str) -> None:
    log = tmp_path / "faults.csv"
    words = ("--command", command, "--every", 300, "--log", log)
    done = run_faults(*words)
    assert done.returncode == 0, done.stdout + done.stderr
    first = rows(log)
    assert run_faults(*words).returncode == 0
    assert rows(log) == first


def test_a_fault_is_only_where_it_can_be() -> None:
    calls = ("stat", "write", "open", "rename", "read", "lock")
    assert {fault: can_have(fault, calls) for fault in FAULTS} == {
        "ENOSPC": [1, 3, 5],
        "EIO": [0, 1, 2, 3, 4, 5],
        "EACCES": [0, 1, 2, 3, 4],
        "EDQUOT": [1, 3, 5],
        "EINTR": [0, 1, 2, 3, 4, 5],
        "short": [1, 4],
        "kill": [1, 3, 5],
    }


def test_a_call_of_each_kind_comes_first_and_no_job_is_lost() -> None:
    read, other = ("read", "/place/images/0/1.png"), ("read", "/place/images/0/25.png")
    calls = (read, other, ("stat", "/place/images/0/1.png"), read, ("write", "/place/runs/run/steps.csv"), other)
    one = Prepared("train", SCENARIOS["train"], Path(), calls, 0, {})
    asked = argparse.Namespace(fault=[*FAULTS], number=None)
    jobs = [(number, fault) for _, number, fault in jobs_of(Calls.__new__(Calls), [one], asked)]
    expected = {(number, fault) for fault in FAULTS for number in can_have(fault, [call for call, _ in calls])}
    assert (len(jobs), {*jobs}) == (len(expected), expected)
    order = list(dict.fromkeys(number for number, _ in jobs))
    assert [number for number, _ in jobs] == sorted((number for number, _ in jobs), key=order.index)
    assert {calls[number][0] for number in order[:3]} == {"read", "stat", "write"}
    new = ("write", "/place/runs/sweep-images/seed=0/lr_range.csv")
    sweep = Prepared("sweep", SCENARIOS["sweep"], Path(), (calls[0], new, calls[4]), 0, {})
    jobs_of_two = jobs_of(Calls.__new__(Calls), [one, sweep], asked)
    (first,) = {number for one, number, _ in jobs_of_two[: len(jobs) + 1] if one.name == "sweep"}
    assert first == 1  # of a kind that a training does not have


@pytest.mark.parametrize(
    ("path", "line", "named"),
    [
        ("runs/run/steps.csv", "Input/output error: runs/run/steps.csv.", True),
        ("runs/run/.steps.csv", "Input/output error: /place/runs/run/steps.csv.", True),
        ("runs/run/steps.csv", "Input/output error: runs/run.", True),
        ("runs/run/steps.csv", "Input/output error: runs/run/epochs.csv.", False),
        ("runs/run/steps.csv", "Input/output error.\nResume it with: onecycle train --resume runs/run", False),
        ("images/1", "Input/output error: images/1.", True),
        ("images/1", "Input/output error: images/0/1.png.", False),
        ("runs/.new-0a", "Input/output error: runs/run.", True),
        ("runs/run/.0123456789ab-model.onnx", "Input/output error: runs/run/model.onnx.", True),
        ("runs/.new-0a", "Input/output error: cache/run.", False),
        ("runs/.new-0a", "Input/output error: runs/earlier/run.json.", False),
        ("runs/.new-0a", "Input/output error: runs.", True),
        ("runs/.new-0a/.run.json", "Input/output error: runs/run/run.json.", True),
        ("runs/run/steps.csv", "Input/output error. The run goes on.", False),
        ("images/1/5.png", "1 file cannot be read: Input/output error.", False),
        ("images/1/5.png", "images/1/5.png cannot be read: Input/output error.", True),
        ("runs/run", "Input/output error: the run.", False),
        ("runs", "Input/output error: runs.", True),
        ("runs", "Input/output error: runs/run.", True),
        ("runs", "Input/output error: images/1.", False),
        ("runs", "Input/output error.", False),
        ("cache/.lock", "Input/output error: /place/cache/.lock.", True),
        ("cache/.8px", "Input/output error: /place/cache/.8px.", True),
        ("images.cache", "Input/output error: /place/images.cache/.lock.", True),
        ("cache/.8px/images.npy", "Input/output error: /place/cache/8px.", True),
        ("cache/.8px/images.npy", "Input/output error: /place/cache/9px.", False),
        ("", "Permission denied: runs.", True),
        ("", "Permission denied.", False),
        ("images/1", "1 file cannot be read: Input/output error.", False),
        ("recipe.yaml", "Permission denied: recipe.yaml.", True),
    ],
)
def test_a_message_names_a_file_or_the_folder_around_it(path: str, line: str, named: bool) -> None:
    assert is_named(Path("/place") / path, line) is named


def test_a_state_is_what_files_say_without_times_and_checksums(tmp_path: Path) -> None:
    states = set()
    for number, (name, text, pixels) in enumerate(
        [
            (".run-1a", "made 12:30, sha256 0fe1", b"\0a"),
            (".run-2b", "made 12:31, sha256 ab37", b"\0a"),
            (".run-2b", "made 12:31, sha256 ab37", b"\0b"),
            (".run-2b", "lost 12:31, sha256 ab37", b"\0a"),
            ("run", "made 12:31, sha256 ab37", b"\0a"),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / name).write_text(text)
        (folder / "images.npy").write_bytes(pixels)
        states.add(state_of(folder))
        assert len(states) == max(1, number)
        (folder / "empty").mkdir()
        assert state_of(folder) not in states


@needs_compiler
def test_calls_are_counted_and_fail_in_every_way(tmp_path: Path) -> None:
    """Each call of the C library that Python reaches: it is seen, has the fault, and names what it hit."""
    from interposer import build, entries

    program = """
import ctypes, errno, fcntl, mmap, os, shutil, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from interposer import SHORT, Interposer
calls = Interposer(Path(os.environ["LD_PRELOAD"]))
here = Path(sys.argv[2])
os.chdir(here)
calls.set()
calls.start([here], here.parent / "record")
def hits(action, call):
    for number in range(6):  # a call before may have no consequence
        calls.set(number, errno.EIO)
        try:
            action()
        except OSError as error:
            if calls.hit and calls.hit[0] == call:
                assert error.errno == errno.EIO, error
                return
    raise AssertionError(f"{call} did not fail")
calls.set()
Path("f").write_bytes(b"0123456789")
hits(lambda: os.open("f", os.O_RDONLY), "open")
hits(lambda: os.open("g", os.O_WRONLY | os.O_CREAT), "create")
fd = os.open("f", os.O_RDWR)
for call, action in {
    "read": lambda: os.read(fd, 4), "write": lambda: os.write(fd, b"abcd"), "fsync": lambda: os.fsync(fd),
    "truncate": lambda: os.ftruncate(fd, 4), "stat": lambda: os.fstat(fd),
    "lock": lambda: fcntl.flock(fd, fcntl.LOCK_EX),
    "mmap": lambda: mmap.mmap(fd, 4, access=mmap.ACCESS_READ), "chmod": lambda: os.fchmod(fd, 0o600),
}.items():
    hits(action, call)
for call, action in {
    "stat": lambda: os.stat("f"), "mkdir": lambda: os.mkdir("d"), "rename": lambda: os.rename("f", "h"),
    "link": lambda: os.link("f", "h"), "unlink": lambda: os.unlink("f"), "opendir": lambda: os.listdir("."),
}.items():
    hits(action, call)
calls.set(0, SHORT)
assert os.pwrite(fd, b"abcd", 0) == 2
calls.set(0, errno.EIO)
try:
    os.close(fd)
except OSError:
    pass
assert calls.hit == ("close", here / "f")
calls.set()
os.stat("/")  # elsewhere
assert calls.count == 0
shutil.copy("f", "copy")
os.rename("copy", "moved")
"""
    (tmp_path / "place").mkdir()
    library = build(tmp_path)
    words = [sys.executable, "-c", program, str(SCRIPT.parent), str(tmp_path / "place")]
    subprocess.run(words, env={"LD_PRELOAD": str(library), "PYTHONSAFEPATH": "1"}, check=True)
    found = list(entries((tmp_path / "record").read_bytes()))
    wrote = [entry for entry in found if entry.call == "write" and entry.first.endswith("/place/copy")]
    assert b"".join(entry.data for entry in wrote) == b"ab23456789"
    assert any((entry.call, Path(entry.second).name) == ("rename", "moved") for entry in found)
