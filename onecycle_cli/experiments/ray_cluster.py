"""The connection to a Ray cluster: checked before anything runs, so that nothing waits for ever."""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from onecycle_cli.errors import InputError, MachineError, missing_packages
from onecycle_cli.progress import Report
from onecycle_cli.training.hardware import Hardware

LOCAL = "local"
"""The address that starts a Ray of its own on this machine."""

ANSWER_SECONDS = 10.0
"""The longest wait for the port of a head node."""

JOIN_SECONDS = 45.0
"""The longest wait for a head node to accept this machine. Joining takes 2 to 4 s; Ray 2.60 itself gives up after 120 s
or never."""

LOCAL_OBJECTS = 256 * 2**20
"""The bytes of the object store of a local Ray, which holds no images: all cells see the same files."""

JOIN = """
import json, logging, sys
try:
    import ray
    ray.init(address=sys.argv[1], log_to_driver=False, logging_level=logging.CRITICAL)
    told = None
except BaseException as error:
    told = str(error) or type(error).__name__
print("\\n" + json.dumps({"error": told}), flush=True)
"""
"""A program that joins a cluster and prints why that fails. It is a process of its own: a wait in Ray's C++ code cannot
be interrupted, and Ray may end its process."""


@dataclass(frozen=True)
class RayOptions:
    """Where the cells of a sweep run on Ray, and what each needs.

    `address` is that of the head node (HOST:PORT), "auto" for a cluster that runs on this machine, or "local" to start
    one. `retries` is the number of times that a cell is resumed after its worker or node was lost.
    """

    address: str
    cpus_per_cell: int = 1
    gpus_per_cell: float = 0.0
    retries: int = 2


@contextmanager
def connected(options: RayOptions, report: Report) -> Iterator[None]:
    """Connects to the cluster of `options` inside the block, or starts a local one.

    `InputError` if the address is none; `MachineError` if Ray is missing, if the cluster does not answer or has another
    version of Ray or Python, or if no node of it is large enough for a cell.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError:
        raise missing_packages("--ray", "Ray", "ray") from None
    if options.address != LOCAL:
        _must_answer(options.address)
        _must_let_join(options.address)
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    with _own_signal_handlers():
        if options.address == LOCAL:
            report("Starting Ray on this machine.")
            ray.init(address=LOCAL, include_dashboard=False, object_store_memory=LOCAL_OBJECTS, **quiet)
        else:
            ray.init(address=options.address, **quiet)
    try:
        _must_have_room(options)
        yield
    finally:
        ray.shutdown()


def must_suit(options: RayOptions, hardware: Hardware) -> None:
    """Raises `InputError` if cells would run on GPUs that they do not ask for, or ask for GPUs that they do not use."""
    on_gpu = hardware.device.type == "cuda"
    if on_gpu and not options.gpus_per_cell:
        raise InputError(
            "The cells would run on a GPU, and Ray gives them none.",
            "Add --gpus-per-cell 1, or a part of one such as 0.5. For the CPU, add --device cpu.",
        )
    if options.gpus_per_cell and not on_gpu:
        raise InputError(
            f"--gpus-per-cell is {options.gpus_per_cell:g}, and the recipe runs on {hardware.device} on this machine.",
            "Start the command on a machine with a GPU, since it decides the device and the precision of all cells.",
        )


def _must_answer(address: str) -> None:
    """Checks that a program listens at the address of a head node; the next check is whether it is a head node."""
    if address == "auto":
        return
    host, colon, port = address.rpartition(":")
    if "://" in address or not (colon and host and port.isdecimal() and 0 < int(port) < 65536):
        raise InputError(
            f"--ray {address} is no address of a head node.",
            "Give HOST:PORT, the address that `ray start --head` has printed, on a machine that `ray start` has joined "
            "to the cluster.",
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=ANSWER_SECONDS).close()
    except (OSError, UnicodeError) as error:
        raise MachineError(
            f"No Ray head answers at {address}: {getattr(error, 'strerror', None) or error}.",
            f"Start it there with `ray start --head --port={port}`, or check the address and the firewall.",
        ) from None


def _must_let_join(address: str) -> None:
    try:
        done = subprocess.run(
            [sys.executable, "-c", JOIN, address], capture_output=True, text=True, timeout=JOIN_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        raise MachineError(
            f"The program at {address} has not let this machine join a Ray cluster within {JOIN_SECONDS:g} s.",
            "Check with `ray status` that a head node runs there, and with `ray start --address` that this machine is "
            "one of its nodes.",
        ) from None
    last = (done.stdout.splitlines() or [""])[-1]
    error = json.loads(last)["error"] if last.startswith("{") else f"Ray ended with code {done.returncode}"
    if error is None:
        return
    what = " ".join(error.split())
    if "Version mismatch" in error or "version mismatch" in error:
        fix = "Install the same versions of Ray and Python on every node, and start the cluster again."
    else:
        fix = "Check that `ray start` runs on this machine and belongs to this cluster."
    raise MachineError(f"This machine cannot join the Ray cluster at {address}: {what}", fix)


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Restores the handlers that Ray replaces: a command ends by its own ones."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _must_have_room(options: RayOptions) -> None:
    """Checks that some node is large enough for a cell: Ray would wait for ever for a larger one."""
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    wanted = {"CPU": options.cpus_per_cell, "GPU": options.gpus_per_cell}
    if not any(all(node.get(name, 0) >= amount for name, amount in wanted.items()) for node in nodes):
        most = ", ".join(f"{max(node.get(name, 0) for node in nodes):g} {name}s" for name in wanted)
        raise MachineError(
            f"No node has {options.cpus_per_cell} CPUs and {options.gpus_per_cell:g} GPUs for a cell. The most that a "
            f"node has: {most}.",
            "Give smaller --cpus-per-cell and --gpus-per-cell, or add such a node first.",
        )
