"""Facts about a run at its start: the process, the machine, the versions."""

import os
import platform
import shlex
import socket
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import metadata
from typing import Any

import psutil

from onecycle_cli import __version__

_PACKAGES = ("torch", "torchvision", "numpy", "pandas", "pydantic", "Pillow", "scikit-learn", "safetensors", "timm")


def this_process() -> dict[str, Any]:
    """Returns the process id, the process start time (seconds since 1970, since ids are reused) and the host name."""
    return {"pid": os.getpid(), "process_started": psutil.Process().create_time(), "host": socket.gethostname()}


def is_process_gone(facts: Mapping[str, Any]) -> bool:
    """Whether the process of a run has ended without recording a status; False for a run on another host.

    Facts that no process has written, such as an id that is text, name a process that is not there.
    """
    started, host, pid = facts.get("process_started"), facts.get("host"), facts.get("pid")
    if started is None or (isinstance(host, str) and host != socket.gethostname()):
        return False
    if not isinstance(host, str) or type(pid) is not int or type(started) not in (int, float):
        return True
    try:
        found = psutil.Process(pid)
        # Setting the clock moves the start time of a process by as much.
        same = abs(found.create_time() - started) <= SAME_START
        return not same or found.status() == psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ValueError, OverflowError):  # a number that no process can have
        return True
    except psutil.AccessDenied:
        return False


SAME_START = 60.0
"""The largest difference, in seconds, between start times of the same process; process ids are reused after some ten
thousand others."""


def process_facts() -> dict[str, Any]:
    """Returns the git commit, the process, the host and platform, and the versions of Python and the main packages."""
    return {
        "git_commit": _git_commit(),
        **this_process(),
        "platform": platform.platform(),
        "versions": {"onecycle-cli": __version__, "python": platform.python_version()}
        | {package: _version(package) for package in _PACKAGES},
    }


def command_line(arguments: Sequence[str]) -> str:
    """Returns the command line, quoted so that it can be pasted into a shell."""
    return shlex.join(["onecycle", *arguments])


def words_of(facts: Mapping[str, Any]) -> list[str]:
    """Returns the words of the command line of a run; none if it has no command line, or one that is cut."""
    try:
        return shlex.split(str(facts.get("command_line") or ""))
    except ValueError:  # a quote is open
        return []


@cache  # 20 ms for all of them, in each cell of a sweep
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Returns the commit of the current repository, with "+changes" if there are uncommitted changes, or None."""
    try:
        asked = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+changes"]
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
