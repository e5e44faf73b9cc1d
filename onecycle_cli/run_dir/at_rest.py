"""Whether a run is at rest: no process writes its folder, nor those of the runs inside it."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from onecycle_cli.errors import InputError
from onecycle_cli.run_dir.facts import is_process_gone
from onecycle_cli.run_dir.files import LOCK, RUN
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.writing import locked


def must_rest(run: RunDir, *, elsewhere_ended: bool = False) -> None:
    """Checks that neither the run nor one inside it is running; `InputError` that names the one that is.

    It looks at the status and at the locks, which the operating system frees when their process ends. What happens on
    another host cannot be seen from here: `elsewhere_ended` says that a run which seems to run there has ended.
    """
    for folder, _, names in os.walk(run.path):
        if RUN in names:
            _must_have_ended(RunDir(folder), elsewhere_ended=elsewhere_ended)
        for name in names:
            if name[0] == "." and name.endswith(LOCK):
                _must_be_free(Path(folder, name), run)


def running_elsewhere(run: RunDir) -> Iterator[tuple[RunDir, str]]:
    """Yields the run and those inside it that seem to run on another host, each with the name of that host."""
    for folder, _, names in os.walk(run.path):
        if RUN in names:
            with suppress(InputError):
                facts = RunDir(folder).facts
                if facts["status"] == "running" and facts.get("host") != socket.gethostname():
                    yield RunDir(folder), str(facts.get("host"))


def _must_have_ended(run: RunDir, *, elsewhere_ended: bool) -> None:
    try:
        facts = run.facts
    except InputError:
        return  # damaged: its locks tell
    if facts["status"] != "running" or is_process_gone(facts):
        return
    if facts.get("host") == socket.gethostname():
        raise InputError(f"{run.path} is running, as process {facts.get('pid')}.", "Wait for it to end, or stop it.")
    if not elsewhere_ended:
        raise InputError(
            f"{run.path} is running on another machine, {facts.get('host')}, or was killed there.",
            "Wait for it to end. If you know that it does not run any more, give --force.",
        )


def _must_be_free(lock: Path, run: RunDir) -> None:
    from filelock import Timeout

    try:
        with locked(lock):
            pass
    except Timeout:
        raise InputError(f"Another process is using {run.path}.", "Wait for it to end, or stop it.") from None
    except PermissionError:
        pass  # of another person: the status tells
