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
from tempfile import TemporaryFile
from time import monotonic, sleep

from onecycle_cli.errors import InputError, MachineError, missing_packages
from onecycle_cli.progress import Report
from onecycle_cli.training.hardware import Hardware

LOCAL = "local"
"""The address that starts a Ray of its own on this machine."""

ANSWER_SECONDS = 10.0
"""The longest wait for the port of a head node."""

JOIN_SECONDS = 30.0
"""The longest wait for a head node to accept this machine. Joining takes 2 to 4 s; Ray 2.60 itself gives up after 120 s
or never."""

WRONG_TOKEN = "InvalidAuthToken"  # noqa: S105 -- a message, and no token
"""What Ray's log has if a cluster asks for a token, and gets none or another one."""

AUTH_MODE = "RAY_AUTH_MODE"
"""The environment variable that makes Ray send its token: since 2.52; a head node of 2.60 asks for it if it has one."""

QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
"""Environment variables that Ray reads when it is imported: no statistics for its makers, and no lines of a daemon
among the results on standard output, which log_to_driver and logging_level do not prevent."""

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
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
    except ImportError:
        raise missing_packages("--ray", "Ray", "ray") from None
    if options.address != LOCAL:
        must_answer(options.address)
        _must_let_join(options.address)
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    with _own_signal_handlers():
        if options.address == LOCAL:
            report("Starting Ray on this machine.")
            ray.init(address=LOCAL, include_dashboard=False, object_store_memory=LOCAL_OBJECTS, **quiet)
        else:
            ray.init(address=options.address, **quiet)
    try:
        must_have_room(options)
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


def must_answer(address: str) -> None:
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
    """Checks that this machine can join the cluster; asks Ray to send its token if the cluster wants one."""
    error = _join(address)
    if error == WRONG_TOKEN and AUTH_MODE not in os.environ:
        os.environ[AUTH_MODE] = "token"
        error = _join(address)
    if error is None:
        return
    if error == WRONG_TOKEN or "token" in error.lower():
        what = f"The Ray cluster at {address} asks for its token, which is not the one of this machine."
        fix = "Put what `ray get-auth-token` prints on the head node into RAY_AUTH_TOKEN, or into ~/.ray/auth_token."
        raise MachineError(what, fix)
    if "version mismatch" in error.lower():
        fix = "Install the same versions of Ray and Python on every node, and start the cluster again."
    else:
        fix = (
            "Check with `ray status` that a head node runs there, and that `ray start --address` has made this machine "
            "one of its nodes."
        )
    raise MachineError(f"This machine cannot join a Ray cluster at {address}: {error}", fix)


def _join(address: str) -> str | None:
    """Joins a cluster for a moment; returns what prevents it, or None."""
    began = monotonic()
    with TemporaryFile("w+") as told, TemporaryFile("w+") as log:
        # -P: a file such as json.py where the command was given is no module of Python.
        process = subprocess.Popen([sys.executable, "-P", "-c", JOIN, address], stdout=told, stderr=log)
        try:
            while process.poll() is None:
                if monotonic() - began > JOIN_SECONDS:
                    return f"it has not answered as a head node within {JOIN_SECONDS:g} s."
                log.seek(0)
                if WRONG_TOKEN in log.read():  # Ray tries this again for 20 s, and does not say why it fails
                    return WRONG_TOKEN
                sleep(0.05)
        finally:
            process.kill()
            process.wait()
        told.seek(0)
        last = (told.read().splitlines() or [""])[-1]
    if not last.startswith("{"):
        return f"Ray ended with code {process.returncode}."
    error: str | None = json.loads(last)["error"]
    return error and " ".join(error.split())


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


def must_have_room(options: RayOptions) -> None:
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
