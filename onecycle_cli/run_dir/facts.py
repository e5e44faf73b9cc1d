"""What is known of a run when it starts: this process, this machine, these versions."""

import os
import platform
import shlex
import socket
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from typing import Any

import psutil

from onecycle_cli import __version__

_PACKAGES = ("torch", "torchvision", "numpy", "pandas", "pydantic", "Pillow", "scikit-learn", "safetensors")


def this_process() -> dict[str, Any]:
    """The process, when it began (seconds since 1970; its number may be another's later) and its host."""
    return {"pid": os.getpid(), "process_started": psutil.Process().create_time(), "host": socket.gethostname()}


def is_process_gone(facts: Mapping[str, Any]) -> bool:
    """Whether the process of a run ended without a word; one of another host cannot be looked at."""
    if facts.get("process_started") is None or facts["host"] != socket.gethostname():
        return False
    try:
        found = psutil.Process(facts["pid"])
        # A clock that is set moves the time when a process began, by as much.
        reused = abs(found.create_time() - facts["process_started"]) > SAME_START
        return reused or found.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
    except psutil.AccessDenied:
        return False


SAME_START = 60.0
"""Seconds; numbers of processes come back after some ten thousand others."""


def process_facts() -> dict[str, Any]:
    """The git commit, the process, the host and the versions of what takes part."""
    return {
        "git_commit": _git_commit(),
        **this_process(),
        "platform": platform.platform(),
        "versions": {"onecycle-cli": __version__, "python": platform.python_version()}
        | {package: _version(package) for package in _PACKAGES},
    }


def command_line(arguments: Sequence[str]) -> str:
    """The command as it can be pasted into a shell."""
    return shlex.join(["onecycle", *arguments])


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """The commit of the repository that the command was started in, "+changes" where it has uncommitted ones."""
    try:
        asked = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
