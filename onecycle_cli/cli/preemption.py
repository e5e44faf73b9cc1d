"""Commands that are ended before their time: at a deadline, or by a cluster that wants its machine back."""

import inspect
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onecycle_cli.cli.options import DeadlineOption, RequeueOption, seconds_in, starts_ranks
from onecycle_cli.errors import TRY_AGAIN, InputError, Terminated

if TYPE_CHECKING:
    from onecycle_cli.run_dir.launch import Launch

REQUEUED = (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)
"""The ends after which `--requeue` asks for another start: not Ctrl-C and not a closed terminal, which a person did."""

PATIENCE = 60
"""The seconds that SLURM is given to answer: a cluster kills a job 30 s after its end unless told otherwise, and
`scontrol` gives up by itself after some tens of seconds."""


def preemptible(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options `--deadline` and `--requeue`, and ends it by them, for Typer.

    Its parameter `launch`, if it has one, is no option: it gets what may start the command again. A command without
    that parameter goes on when the same command is given again, and its user is told so.
    """
    own = dict(inspect.signature(command).parameters)
    same_command = own.pop("launch", None) is None
    first = next(name for name in own if name in ("trust_code", "runs_dir"))  # where the options stand in the help
    parameters = []
    for name, parameter in own.items():
        if name == first:
            parameters += [_option("deadline", DeadlineOption, None), _option("requeue", RequeueOption, False)]
        parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    def replaced(*, deadline: str | None, requeue: bool, **given: Any) -> None:
        if starts_ranks(given.get("processes")):  # each of them ends in time, and the first one asks for another start
            try:
                command(**given, **({} if same_command else {"launch": None}))
            except Terminated as end:
                if requeue and end.number in REQUEUED:
                    end.exit_code = TRY_AGAIN
                raise
            return
        with _ended_in_time(deadline, requeue=requeue, same_command=same_command) as launch:
            command(**given, **({} if same_command else {"launch": launch}))

    replaced.__name__, replaced.__doc__ = command.__name__, command.__doc__
    replaced.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return replaced


def _option(name: str, kind: Any, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


@contextmanager
def _ended_in_time(deadline: str | None, *, requeue: bool, same_command: bool) -> "Iterator[Launch | None]":
    """Ends the block at the deadline, and asks for another start when it is ended before its time."""
    from onecycle_cli.run_dir.facts import command_line
    from onecycle_cli.run_dir.launch import slurm_job, this_launch

    seconds = None if deadline is None else seconds_in(deadline, "--deadline")
    job = slurm_job() if requeue else None
    if requeue and job is None:
        what = "--requeue is for a job of SLURM, and SLURM_JOB_ID is not set here."
        raise InputError(what, "Leave it out; --deadline ends a command in time everywhere.")
    if seconds is not None:
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield this_launch(requeue=requeue)
    except (KeyboardInterrupt, Terminated) as end:
        if same_command:
            end.add_note(f"It can go on: {command_line(sys.argv[1:])}")
        if isinstance(end, Terminated):
            if end.number == signal.SIGALRM:
                end.exit_code = TRY_AGAIN
            if job is not None and end.number in REQUEUED:
                end.exit_code = TRY_AGAIN
                if os.environ.get("RANK", "0") == "0":  # of several ranks under torchrun, one asks
                    end.add_note(_asked_for_another_start(job))
        raise
    finally:
        if seconds is not None:
            signal.setitimer(signal.ITIMER_REAL, 0)


def _asked_for_another_start(job: str) -> str:
    """Asks SLURM to start a job again, and returns a sentence about its answer."""
    import subprocess

    try:
        # In a session of its own: SLURM's answer is a signal to the whole process group, which would end scontrol too.
        done = subprocess.run(
            ["scontrol", "requeue", job],  # noqa: S607 -- where it is installed is known to PATH alone
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        said = f"no answer in {PATIENCE} s"
    except OSError as error:
        said = f"scontrol: {error.strerror}"
    else:
        if done.returncode == 0:
            return f"SLURM starts job {job} again, and it goes on there."
        said = " ".join((done.stderr or done.stdout).split()) or f"scontrol ended with code {done.returncode}"
    return f"SLURM does not start job {job} again ({said}). Go on by hand."
