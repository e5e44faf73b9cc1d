"""Short forms of `make memory-faults`: memory that is refused is told, and costs nothing."""

import csv
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from interposer import compiler

SCRIPT = Path(__file__).with_name("memory.py")


@pytest.fixture
def faults(tmp_path: Path) -> Callable[..., list[dict[str, str]]]:
    """Runs the script with some words; returns the rows of its table."""
    if compiler() is None:
        pytest.skip("there is no C compiler for Linux, with which the library is built that refuses memory")

    def run(*words: str) -> list[dict[str, str]]:
        log = tmp_path / "faults.csv"
        command = [sys.executable, str(SCRIPT), *words, "--log", str(log)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        with log.open(newline="") as opened:
            return list(csv.DictReader(opened))

    return run


@pytest.mark.slow
def test_a_training_whose_memory_is_refused_tells_it_and_goes_on_to_the_same_bits(
    faults: Callable[..., list[dict[str, str]]],
) -> None:
    (row,) = faults("--command", "train", "--fault", "tensor-on", "--number", "6000")
    assert (row["end"], row["problem"]) == ("exit code 5", "")
    assert "Out of memory with data.batch_size 4" in row["message"], "the request is one of a later step"


@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS, as Linux has it")
def test_where_there_is_no_memory_to_load_the_command_that_is_told() -> None:
    """Also where it ends while the commands are built, or in one, in places where Python loses its MemoryError."""
    told = 0
    for mebibytes in range(22, 47, 3):  # with less, Python itself may crash
        limited = partial(resource.setrlimit, resource.RLIMIT_AS, (mebibytes << 20,) * 2)
        command = [sys.executable, "-m", "onecycle_cli", "runs"]
        done = subprocess.run(command, preexec_fn=limited, capture_output=True, text=True, check=False)
        if done.returncode in (0, 127) or "Fatal Python error" in done.stderr:
            continue  # the memory is enough, or Python itself does not start
        if done.returncode == -signal.SIGABRT and "memory allocation of" in done.stderr:
            continue  # of pydantic, which is written in Rust and aborts
        assert (done.returncode, "Traceback" in done.stderr) == (5, False), (mebibytes, done.stderr)
        assert "Free some memory" in done.stderr
        told += 1
    assert told


@pytest.mark.slow
@pytest.mark.parametrize("command", ["find-lr", "train", "resume", "sweep", "tune", "evaluate", "export"])
def test_each_command_whose_memory_is_refused_goes_on_to_the_same_bits(
    faults: Callable[..., list[dict[str, str]]], command: str
) -> None:
    assert faults("--command", command, "--fault", "tensor", "--fault", "heap", "--every", "900")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="needs RLIMIT_AS, as Linux has it")
@pytest.mark.parametrize("mebibytes", [45, 60, 100])
@pytest.mark.parametrize("call", ["read_digits()", "hold_out(split, 0.5, 0)"])
def test_what_needs_scipy_is_told_at_once_that_there_is_no_memory_for_it(call: str, mebibytes: int) -> None:
    program = f"""
import errno, resource, signal
import numpy as np
from onecycle_cli.data.digits import read_digits
from onecycle_cli.data.images import Split
from onecycle_cli.data.splits import hold_out
split = Split(np.zeros((8, 2, 2, 1), np.uint8), np.arange(8) % 2)
size = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmSize"))
resource.setrlimit(resource.RLIMIT_AS, ((size << 10) + ({mebibytes} << 20),) * 2)
signal.alarm(300)
try:
    {call}
except OSError as error:
    assert error.errno == errno.ENOMEM
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_training_with_too_little_address_space_goes_on_to_the_same_bits(
    faults: Callable[..., list[dict[str, str]]],
) -> None:
    words = [word for number in (0, 3, 6, 9) for word in ("--number", str(number))]
    rows = faults("--command", "train", "--fault", "limit", *words)
    assert len(rows) == 4
    assert rows[-1]["end"] == "right result"
