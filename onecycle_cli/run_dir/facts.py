"""Facts about a run at its start: the process, the machine, the versions."""

import os
import platform
import re
import shlex
import socket
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil

from onecycle_cli import __version__

_PACKAGES = ("torch", "torchvision", "numpy", "pandas", "pydantic", "Pillow", "scikit-learn", "safetensors", "timm")


def this_process() -> dict[str, Any]:
    """Returns the process id, when the process started (since ids are reused), and the host name.

    `process_started` is in seconds since 1970; `process_began` counts from boot, so setting the clock does not move it.
    """
    return {
        "pid": os.getpid(),
        "process_started": psutil.Process().create_time(),
        "process_began": began(os.getpid()),
        "host": socket.gethostname(),
    }


def began(pid: int) -> str | None:
    """Returns the boot of this machine and the ticks from it to the start of a process; None outside of Linux."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        after_the_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    return f"{boot} {int(after_the_name[19])}"


def is_before(one: object, other: object) -> bool | None:
    """Whether a process `began` before another one; None if nobody knows, as for processes of two machines."""
    found = [re.fullmatch(r"(\S+) (\d+)", str(text)) for text in (one, other)]
    boots = {match and match[1] for match in found}
    if None in boots or len(boots) > 1:
        return None
    first, second = (int(match[2]) for match in found if match)
    return first < second


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
        found, then, now = psutil.Process(pid), facts.get("process_began"), began(pid)
        # Setting the clock moves the start time of a process by as much, but not what counts from boot.
        of_one_boot = is_before(then, now) is not None
        same = then == now if of_one_boot else abs(found.create_time() - started) <= SAME_START
        return not same or found.status() == psutil.STATUS_ZOMBIE
    except (psutil.NoSuchProcess, ValueError, OverflowError):  # a number that no process can have
        return True
    except psutil.AccessDenied:
        return False


SAME_START = 60.0
"""The largest difference, in seconds, between start times of the same process, where nothing counts from its boot.

Process ids are reused after some ten thousand others, but in a container that starts again at once."""


CLOCK_BEHIND = "clock_behind"
"""The fact by how many seconds the clock was behind the newest run at the start of a run; absent if it was not."""


def order(facts: Mapping[str, Any]) -> str:
    """Returns the key by which runs are sorted: when the run started, by a clock that is never set back.

    The clock may have been ahead while earlier runs started, and set right since: then this key is later than
    `started`, and still later than the keys of those runs.
    """
    behind, started = facts.get(CLOCK_BEHIND), str(facts["started"])
    if not isinstance(behind, int | float):
        return started
    try:
        return iso(datetime.fromisoformat(started) + timedelta(seconds=behind))
    except (TypeError, ValueError, OverflowError):  # a damaged or foreign time
        return started


def _time_on_the_wall(key: str) -> datetime:
    """Returns the time that a key shows, whatever its zone, as keys are compared; the first of all if it shows none."""
    try:
        return datetime.fromisoformat(key).replace(tzinfo=UTC)
    except ValueError:  # damaged or foreign
        return datetime.min.replace(tzinfo=UTC)


def newest(keys: Iterable[str]) -> str:
    """Returns the latest of the keys of `order`, by the time that they show; empty if there is none."""
    return max(keys, key=_time_on_the_wall, default="")


def clock_facts(started: datetime, keys: Iterable[str]) -> dict[str, float]:
    """Returns the fact `CLOCK_BEHIND` of a run that starts now, where runs seem to have started later; else nothing.

    `keys` are those of earlier runs, by `order`.
    """
    ahead = (_time_on_the_wall(newest(keys)) - started).total_seconds()
    return {CLOCK_BEHIND: round(ahead + 1e-6, 6)} if ahead >= 0 else {}


def iso(time: datetime) -> str:
    """Returns a time as the files of runs have it; as text, such times of one zone are in their order."""
    return time.isoformat(timespec="microseconds")


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
        if _may_name_filters():
            return f"{_git('rev-parse', '--verify', 'HEAD').decode('ascii').strip()}+unchecked"
        found = _git("status", "--porcelain=v2", "--branch", "--no-ahead-behind", *NOT_LOOKED_AT).splitlines()
    except (OSError, subprocess.SubprocessError):
        return None
    commits = [line.removeprefix(b"# branch.oid ") for line in found if line.startswith(b"# branch.oid ")]
    if commits in ([], [b"(initial)"]):
        return None
    return commits[0].decode("ascii") + ("+changes" if any(not line.startswith(b"#") for line in found) else "")


def _may_name_filters() -> bool:
    """Whether the repository's own configuration names filters, or git is too old to tell whose they are."""
    try:
        filters = _git("config", "--show-scope", "--get-regexp", r"^filter\.").splitlines()
    except subprocess.CalledProcessError as error:
        if error.returncode != UNKNOWN_OPTION:
            raise
        return True
    return any(line.startswith((b"local", b"worktree")) for line in filters)


UNKNOWN_OPTION = 129
"""The exit code of git for an option that it does not know, such as `--show-scope` before git 2.26."""

NOT_LOOKED_AT = ("--untracked-files=no", "--ignore-submodules=dirty")
"""What is no change: new files, and those of submodules, whose own configurations may name programs too."""

NO_PROGRAMS = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null")
NO_CONNECTIONS = {"GIT_OPTIONAL_LOCKS": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_ALLOW_PROTOCOL": "none"}
"""The working folder may lie in a repository that came from a stranger, whose configuration names programs for git to
run: they do not run, nothing is fetched, and the index, whose change would call a hook, is not written."""


def _git(*words: str) -> bytes:
    """Returns what git says about the current repository; nothing where it ends with 1, as without a match.

    As bytes: the name of a branch or a file may be no UTF-8.
    """
    asked = ["git", *NO_PROGRAMS, *words]
    environment = os.environ | NO_CONNECTIONS
    done = subprocess.run(asked, capture_output=True, check=False, timeout=10, env=environment)
    if done.returncode not in (0, 1):
        done.check_returncode()
    return done.stdout
