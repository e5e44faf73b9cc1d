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
    """Returns the words of the command line of a run; none if it has no command line of ours, or one that is cut."""
    try:
        words = shlex.split(str(facts.get("command_line") or ""))
    except ValueError:  # a quote is open
        return []
    return words if words[:1] == ["onecycle"] else []


def as_it_was_asked(facts: Mapping[str, Any]) -> str:
    """Returns the command line of a run, to be pasted into a shell; empty if it has none.

    A run may come from a stranger: whatever it holds, the shell gets one command, and that is ours.
    """
    return shlex.join(words_of(facts))


@cache  # 20 ms for all of them, in each cell of a sweep
def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _git_commit() -> str | None:
    """Returns the commit of the current repository, or None.

    "+changes" behind it tells of uncommitted changes. "+unchecked" says that nobody looked for any: to compare the
    files, git would run programs that the repository's own configuration names as filters.
    """
    try:
        filters = _git("config", "--show-scope", "--get-regexp", r"^filter\.").splitlines()
        if any(line.startswith(("local", "worktree")) for line in filters):
            return f"{_git('rev-parse', '--verify', 'HEAD').strip()}+unchecked"
        found = _git("status", "--porcelain=v2", "--branch", "--no-ahead-behind", *NOT_LOOKED_AT).splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    commits = [line.removeprefix("# branch.oid ") for line in found if line.startswith("# branch.oid ")]
    if commits in ([], ["(initial)"]):
        return None
    return commits[0] + ("+changes" if any(not line.startswith("#") for line in found) else "")


NOT_LOOKED_AT = ("--untracked-files=no", "--ignore-submodules=dirty")
"""What is no change: new files, and those of submodules, whose own configurations may name programs too."""

NO_PROGRAMS = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
NO_CONNECTIONS = {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}
"""The working folder may lie in a repository that came from a stranger, whose configuration names programs for git to
run: they do not run, nothing is fetched, and the index, whose change would call a hook, is not written."""


def _git(*words: str) -> str:
    """Returns what git says about the current repository; nothing where it ends with 1, as without a match."""
    asked = ["git", *NO_PROGRAMS, *words]
    environment = os.environ | NO_CONNECTIONS
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=10, env=environment)
    if done.returncode not in (0, 1):
        done.check_returncode()
    return done.stdout
