"""Short forms of `make memory-faults`: memory that is refused is told, and costs nothing."""

import csv
import resource
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs LD_PRELOAD and RLIMIT_AS, as Linux has them")

SCRIPT = Path(__file__).with_name("memory.py")

MEMORY = runpy.run_path(str(SCRIPT))


@pytest.fixture
def faults(tmp_path: Path) -> Callable[..., list[dict[str, str]]]:
    """Runs the script with some words; returns the rows of its table."""
    if MEMORY["compiler"]() is None:
        pytest.skip("there is no C compiler, with which the library is built that refuses memory")

    def run(*words: str) -> list[dict[str, str]]:
        file = tmp_path / "faults.csv"
        done = subprocess.run(
            [sys.executable, SCRIPT, words[0], file, *words[1:]], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        with file.open(newline="") as opened:
            return list(csv.DictReader(opened))

    return run


@pytest.mark.slow
def test_a_training_whose_memory_is_refused_tells_it_and_goes_on_to_the_same_bits(
    faults: Callable[..., list[dict[str, str]]],
) -> None:
    (row,) = faults("faults", "--command", "train", "--kind", "tensor", "--numbers", "6000", "--until", "on")
    assert (row["code"], row["end"], row["wrong"]) == ("5", "told", "")
    assert "train --resume" in row["said"], "the request is one of a later step"


def test_where_there_is_no_memory_to_load_the_command_that_is_told() -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (20 << 20, 20 << 20))

    command = [sys.executable, "-m", "onecycle_cli", "runs"]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=False)
    if done.returncode == 127 or "onecycle" not in done.stderr:
        pytest.skip(f"Python itself does not start in 20 MiB: {done.stderr[-100:]}")
    assert (done.returncode, "Traceback" in done.stderr) == (5, False), done.stderr
    assert "While onecycle was loaded: Out of memory" in done.stderr
    assert "Free some memory" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("command", ["find-lr", "train", "sweep", "evaluate", "export"])
def test_each_command_whose_memory_is_refused_goes_on_to_the_same_bits(
    faults: Callable[..., list[dict[str, str]]], command: str
) -> None:
    for kind in ("tensor", "heap"):
        assert faults("faults", "--command", command, "--kind", kind, "--every", "400")


@pytest.mark.slow
@pytest.mark.parametrize("mebibytes", [45, 60, 100])
def test_digits_without_memory_for_the_library_that_has_them_are_told_at_once(mebibytes: int) -> None:
    program = f"""
import errno, resource, signal
from onecycle_cli.data.digits import read_digits
size = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, ((size << 10) + ({mebibytes} << 20),) * 2)
signal.alarm(300)
try:
    read_digits()
except OSError as error:
    assert error.errno == errno.ENOMEM
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_training_with_too_little_address_space_goes_on_to_the_same_bits(
    faults: Callable[..., list[dict[str, str]]],
) -> None:
    rows = faults("limits", "--command", "train", "--levels", "4")
    assert len(rows) == 4
    assert rows[-1]["code"] == "0"
