"""What is known of a run when it starts: this process, this machine, these versions."""

import os
import platform
import shlex
import socket
import subprocess
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from onecycle_cli import __version__

_PACKAGES = ("torch", "torchvision", "numpy", "pandas", "pydantic", "Pillow", "scikit-learn", "safetensors")


def process_facts() -> dict[str, Any]:
    """The git commit, the process, the host and the versions of what takes part."""
    return {
        "git_commit": _git_commit(),
        "pid": os.getpid(),
        "host": socket.gethostname(),
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
