"""The connection to a cluster: what prevents it is told, and nothing waits for ever."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import torch

from onecycle_cli.errors import InputError, MachineError
from onecycle_cli.experiments import ray_cluster
from onecycle_cli.experiments.ray_cluster import LOCAL, RayOptions, connected, must_have_room, must_suit
from onecycle_cli.progress import silent
from onecycle_cli.training.hardware import Hardware

ray = pytest.importorskip("ray")


@pytest.fixture
def port() -> Iterator[int]:
    """A port on which a program listens that is no head node, and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_nothing_at_the_address_is_told() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, and not listening
        address = f"127.0.0.1:{closed.getsockname()[1]}"
        with (
            pytest.raises(MachineError, match=f"No Ray head answers at {address}: .*\n.*ray start --head"),
            connected(RayOptions(address), silent),
        ):
            pass


def test_a_host_that_does_not_answer_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "ANSWER_SECONDS", 0.2)
    with socket.socket() as full, ExitStack() as waiting:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for _ in range(4):  # Linux answers no more than these
            one = waiting.enter_context(socket.socket())
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        address = f"127.0.0.1:{full.getsockname()[1]}"
        with (
            pytest.raises(MachineError, match=f"No Ray head answers at {address}: timed out"),
            connected(RayOptions(address), silent),
        ):
            pass


def test_a_name_that_is_none_is_told() -> None:
    with (
        pytest.raises(MachineError, match="No Ray head answers at no.such.host.invalid:6379"),
        connected(RayOptions("no.such.host.invalid:6379"), silent),
    ):
        pass


def test_a_program_that_is_no_head_node_is_told(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "JOIN_SECONDS", 2.0)
    Path("json.py").write_text("open('trace', 'w')")  # in the working folder: no module of Python
    says = f"This machine cannot join a Ray cluster at 127.0.0.1:{port}: it has not answered as a head node within 2 s"
    with pytest.raises(MachineError, match=says), connected(RayOptions(f"127.0.0.1:{port}"), silent):
        pass
    assert not Path("trace").exists()


OTHER_VERSION = """
import sys, ray
ray.__version__ = "1.2.3"
from ray.scripts.scripts import main
main()
"""


@pytest.mark.slow
def test_another_version_of_ray_is_told() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["start", "--head", f"--port={port}", "--num-cpus=1", "--include-dashboard=false", "--block"]
    environment = os.environ | {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    head = subprocess.Popen(
        [sys.executable, "-c", OTHER_VERSION, *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert head.stdout is not None
        next(line for line in head.stdout if "Ray runtime started" in line)
        with (
            pytest.raises(MachineError, match="cannot join .*1.2.3.*\n.*same versions of Ray and Python"),
            connected(RayOptions(f"127.0.0.1:{port}"), silent),
        ):
            pass
    finally:
        os.killpg(head.pid, signal.SIGKILL)
        head.communicate()


def test_a_local_ray_ends_with_the_block_and_leaves_signals_alone() -> None:
    before = signal.getsignal(signal.SIGTERM)
    told: list[object] = []
    with connected(RayOptions(LOCAL), told.append):
        assert ray.is_initialized()
        assert signal.getsignal(signal.SIGTERM) is before
        with pytest.raises(MachineError, match="No node has 10000 CPUs and 0 GPUs for a cell"):
            must_have_room(RayOptions(LOCAL, cpus_per_cell=10_000))
    assert not ray.is_initialized()
    assert told == ["Starting Ray on this machine."]


@pytest.mark.parametrize(
    ("device", "gpus", "says"),
    [("cuda:0", 0.0, "Ray gives them none"), ("cpu", 0.5, "--gpus-per-cell is 0.5, and the recipe runs on cpu")],
)
def test_cells_have_the_gpus_that_they_use(device: str, gpus: float, says: str) -> None:
    with pytest.raises(InputError, match=says):
        must_suit(RayOptions(LOCAL, gpus_per_cell=gpus), Hardware(torch.device(device), "float32"))


def test_cells_that_fit_their_hardware_are_no_error() -> None:
    must_suit(RayOptions(LOCAL), Hardware(torch.device("cpu"), "float32"))
    must_suit(RayOptions(LOCAL, gpus_per_cell=1), Hardware(torch.device("cuda:1"), "float32"))
