"""Starting a command as several ranks: its exit code, and what happens when ranks are killed."""

import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from onecycle_cli.errors import MachineError
from onecycle_cli.training.launching import launch

STARTED = """
import os, pathlib
rank = int(os.environ["RANK"])
pathlib.Path(f"start-{os.environ['ONECYCLE_STARTS']}-{rank}-of-{os.environ['WORLD_SIZE']}").touch()
"""


@pytest.fixture(autouse=True)
def _as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The launcher sets variables for its ranks, and takes the signals; what names its log entries is left out.

    For these names torch reads the whole stack, with the sources: two seconds for each start, below pytest's frames.
    """
    from torch.distributed.elastic.rendezvous import dynamic_rendezvous

    names = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1)
    before = {number: signal.getsignal(number) for number in names}
    with monkeypatch.context() as patch:
        for name in ("ONECYCLE_STARTS", "TORCHELASTIC_SIGNALS_TO_HANDLE"):
            patch.setenv(name, "")
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setattr(dynamic_rendezvous, "get_method_name", lambda: "a method")
        yield
    for number, handler in before.items():
        signal.signal(number, handler)


def starts() -> list[str]:
    return sorted(path.name for path in Path().glob("start-*"))


def launched(script: str, processes: int = 2) -> tuple[int, list[str]]:
    notes: list[str] = []
    return launch([sys.executable, "-c", STARTED + script], processes, notes.append), notes


def test_the_command_runs_once_on_each_rank() -> None:
    assert launched("") == (0, [])
    assert starts() == ["start-0-0-of-2", "start-0-1-of-2"]


def test_no_port_is_opened_from_whose_bytes_the_launcher_makes_objects(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.distributed.elastic.rendezvous import c10d_rendezvous_backend

    monkeypatch.setattr(c10d_rendezvous_backend, "TCPStore", None)  # whoever reaches its port could run code here
    assert launched("assert os.environ['MASTER_ADDR'] == '127.0.0.1'") == (0, [])


def test_the_exit_code_is_that_of_the_rank_that_failed() -> None:
    assert launched("raise SystemExit(3 if rank == 1 else 0)") == (3, [])
    assert len(starts()) == 2


def test_all_ranks_start_again_when_one_is_killed() -> None:
    code, notes = launched("""
import signal
if rank == 1 and os.environ["ONECYCLE_STARTS"] == "0":
    os.kill(os.getpid(), signal.SIGKILL)
""")
    assert code == 0
    assert notes == ["Process 1 was ended by SIGKILL.", "All of them start again."]
    assert starts() == ["start-0-0-of-2", "start-0-1-of-2", "start-1-0-of-2", "start-1-1-of-2"]


def test_a_killed_rank_is_found_although_another_has_ended_of_it_at_once() -> None:
    """As rank 0 does, which loses the connection: the launcher then sees both ends at the same look."""
    code, notes = launched("""
import signal, sys, time
if os.environ["ONECYCLE_STARTS"] == "0":
    if rank == 1:
        pathlib.Path("dying").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    while not pathlib.Path("dying").exists():
        time.sleep(0.001)
    sys.exit(5)
""")
    assert code == 0
    assert notes[0] == "Process 1 was ended by SIGKILL."


def test_ranks_that_are_killed_each_time_are_given_up() -> None:
    with pytest.raises(MachineError, match="killed from outside, in each of 3 starts"):
        launched("os.kill(os.getpid(), 9)", processes=1)
    assert len(starts()) == 3


def test_an_interrupt_goes_to_the_ranks(started: Callable, tmp_path: Path) -> None:
    program = f"""
import sys
from onecycle_cli.errors import Terminated
from onecycle_cli.training.launching import launch
script = {STARTED!r} + '''
import signal, sys, time
def ended(*_):
    pathlib.Path(f"ended-{{rank}}").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, ended)
pathlib.Path(f"ready-{{rank}}").touch()
time.sleep(60)
'''
try:
    launch([sys.executable, "-c", script], 2, print)
except Terminated:
    print("terminated")
"""
    process = started("-c", program)
    while len(list(tmp_path.glob("ready-*"))) < 2 and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate()
    assert out == "terminated\n", err
    assert len(list(tmp_path.glob("ended-*"))) == 2
