"""Starts a command again as several ranks on this machine, with the launcher of torch that torchrun uses too."""

import logging
import os
import signal
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

from onecycle_cli.data.cores import cores
from onecycle_cli.errors import MachineError, Terminated

if TYPE_CHECKING:
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
    from torch.distributed.launcher.api import LaunchConfig

MOST_STARTS = 3
"""The most times that the processes are started, where one of them is killed each time."""

STARTS = "ONECYCLE_STARTS"
"""The environment variable that tells a process how often its group was started before."""


def launch(
    command: Sequence[str], processes: int, report: Callable[[str], None], *, most_starts: int = MOST_STARTS
) -> int:
    """Runs a command, a program and its arguments, as so many ranks of one group; returns the group's exit code.

    If a rank is killed, all of them start again, until they were started `most_starts` times. On an interrupt the ranks
    get the same signal and end; then `KeyboardInterrupt` or `Terminated` is raised. `MachineError` if ranks are killed
    each time.
    """
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs
    from torch.distributed.launcher.api import LaunchConfig

    logging.getLogger("torch.distributed.elastic").setLevel(logging.CRITICAL)  # the ranks tell their errors themselves
    # torch's threads of all ranks together are as many as the cores.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores() // processes)))
    logs = tempfile.TemporaryDirectory(prefix="onecycle-ranks-")  # nothing is logged there, but torch makes folders
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=processes,
        run_id=uuid4().hex,
        rdzv_backend="c10d",
        # A file: torch's launcher reads pickles from the store, and one behind a port is open to the whole network.
        rdzv_configs={"store_type": "file"},
        rdzv_endpoint=str(Path(logs.name) / "meeting"),
        local_addr="127.0.0.1",
        max_restarts=0,  # it would also start again what ended with an error of its own
        logs_specs=DefaultLogsSpecs(log_dir=logs.name),
        signals_to_handle=",".join(_handled_signals()),
    )
    program, *arguments = command
    with logs:
        return _until_not_killed(config, program, arguments, report, most_starts)


def _until_not_killed(
    config: "LaunchConfig", program: str, arguments: Sequence[str], report: Callable[[str], None], most_starts: int
) -> int:
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import elastic_launch

    for started in range(most_starts):
        os.environ[STARTS] = str(started)
        try:
            # A file of its own for each start: in that of the one before, the ranks have met already.
            elastic_launch(replace(config, rdzv_endpoint=f"{config.rdzv_endpoint}-{started}"), program)(*arguments)
        except ChildFailedError as error:
            rank, failure = _killed(error) or error.get_first_failure()
            if failure.exitcode >= 0:
                return int(failure.exitcode)
            report(f"Process {rank} was ended by {signal.Signals(-failure.exitcode).name}.")
            if started + 1 < most_starts:
                report("All of them start again.")
        except SignalException as end:
            if end.sigval == signal.SIGINT:
                raise KeyboardInterrupt from None
            raise Terminated(end.sigval) from None
        else:
            return 0
    each = f", in each of {most_starts} starts" if most_starts > 1 else ""
    raise MachineError(
        f"One of {config.nproc_per_node} processes was killed from outside{each}.",
        "Look for what kills it: often the system, when memory runs out. `dmesg` tells.",
    )


def _killed(error: "ChildFailedError") -> "tuple[int, ProcessFailure] | None":
    """Returns the rank that was killed, and its end; None if all ranks have ended by themselves.

    The others end with an error because of it, perhaps before torch's launcher looks at any of them.
    """
    return next(((rank, end) for rank, end in sorted(error.failures.items()) if end.exitcode < 0), None)


def _handled_signals() -> list[str]:
    """Returns the names of the signals that end the group; not SIGHUP under nohup, which ignores it."""
    names = ["SIGTERM", "SIGINT", "SIGUSR1"]
    return names if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else [*names, "SIGHUP"]
