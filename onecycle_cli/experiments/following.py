"""Starts the processes that send a run to its receivers, hears what they say, and ends them with the run.

Nothing in a run waits for them: they read its folder, and what they say is read when the run reports its progress.
"""

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic

import onecycle_cli
from onecycle_cli.errors import Terminated, printable
from onecycle_cli.experiments.sending import Word
from onecycle_cli.experiments.session import Session
from onecycle_cli.progress import Progress, silent
from onecycle_cli.recipe import Recipe
from onecycle_cli.run_dir.receivers import RECEIVERS, must_be_installed
from onecycle_cli.run_dir.run import RunDir

WITHIN_SECONDS = 30.0
"""How long a process may say nothing when the run has ended: a request, or what a library does at its start."""


@dataclass(frozen=True)
class Delivery:
    """What became of a run's rows in one receiver: how many were sent now, and where; or the `trouble`."""

    receiver: str
    rows: int = 0
    at: str | None = None
    trouble: str | None = None


class Follower:
    """The process that sends a run to one receiver."""

    def __init__(self, run: RunDir, receiver: str) -> None:
        self.receiver = receiver
        self.trouble: str | None = None
        self._done: Word | None = None
        self._heard, self._deadline = b"", monotonic() + WITHIN_SECONDS
        paths = [str(Path(onecycle_cli.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
        environment = {**RECEIVERS[receiver].load().environment, **os.environ}
        with ExitStack() as stack:
            self._errors = stack.enter_context(TemporaryFile())
            self._process = subprocess.Popen(
                # -P: a folder such as wandb/ where the command was given is no package.
                [sys.executable, "-P", "-m", "onecycle_cli.experiments.sending", str(run.path.absolute()), receiver],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                env=environment | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
                start_new_session=True,  # Ctrl-C at the terminal is for the command, which ends this process itself
            )
            stack.pop_all()
        assert self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)

    @property
    def stream(self) -> int:
        """The descriptor of what the process says."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    @property
    def seconds_left(self) -> float:
        """How long the process may still say nothing."""
        return self._deadline - monotonic()

    def hear(self) -> bool:
        """Reads what the process has said, without waiting; False if it has ended."""
        try:
            found = os.read(self.stream, 1 << 16)
        except BlockingIOError:
            return True
        *lines, self._heard = (self._heard + found).split(b"\n")
        for word in (Word(**json.loads(line)) for line in lines):
            self._deadline = monotonic() + WITHIN_SECONDS + word.more
            if word.trouble is not None:
                self.trouble = word.trouble or None
            self._done = word if word.rows is not None else None
        return bool(found)

    def let_end(self) -> None:
        """Tells the process that the run has ended."""
        with suppress(OSError):
            if self._process.stdin:
                self._process.stdin.close()
        self._deadline = monotonic() + WITHIN_SECONDS

    def delivery(self, *, late: bool) -> Delivery:
        """Ends the process, and returns what became of the rows. `late`: it is still at work, and is not waited for."""
        if late:
            self._process.kill()
        code = self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        with self._errors:
            self._errors.seek(0)
            said = self._errors.read().decode("utf-8", "replace").strip().splitlines()
        if self._done is not None and self._done.rows is not None:
            return Delivery(self.receiver, self._done.rows, self._done.at)
        if late:
            self.trouble = self.trouble or "it took too long"
        last = f": {printable(said[-1][:300])}" if said else ""
        return Delivery(self.receiver, trouble=self.trouble or f"its process ended with code {code}{last}")


def send_all(run: RunDir, receivers: Sequence[str], report: Callable[[str], None] = silent) -> list[Delivery]:
    """Sends to receivers what they lack of a run, and of those inside it. `MachineError` if a package is missing."""
    must_be_installed(receivers)
    return _ended([Follower(run, receiver) for receiver in receivers], report)


class Following:
    """Sends the run of a session to the receivers in `runtime.log_to`: a context manager for the time of the run.

    What is left is sent at its end, so the run's end should be recorded inside. `session`, which is also what the
    context manager gives, is the session to work with: it tells of trouble with a receiver when there is other news.
    Of several ranks, the first sends.
    """

    def __init__(self, recipe: Recipe, session: Session) -> None:
        self._run, self._report = session.run, session.report
        self._receivers = recipe.runtime.log_to if session.ranks.first else ()
        self._followers: list[Follower] = []
        self._told: set[str] = set()
        self.session = replace(session, report=self._heard) if self._receivers else session

    def __enter__(self) -> Session:
        for receiver in self._receivers:
            try:
                self._followers.append(Follower(self._run, receiver))
            except OSError as error:
                self.session.note(f"Nothing is sent to {receiver}: {error.strerror}.")
        return self.session

    def __exit__(self, *_: object) -> None:
        followers, self._followers = self._followers, []
        for delivery in _ended(followers, self._report):
            if delivery.trouble:
                with suppress(OSError):  # a full disk: the error of the run, if there is one, is the one to report
                    self.session.note(
                        f"{delivery.receiver} does not have all of this run: {delivery.trouble}. The run is complete "
                        f"without it; `onecycle runs push {self._run.path}` sends the rest."
                    )
            elif delivery.receiver in self._told:
                self._report(f"{delivery.receiver} has all of this run now.")

    def _heard(self, news: Progress | str) -> None:
        """Reports news, and before it the first trouble of a receiver."""
        for follower in self._followers:
            follower.hear()
            if follower.trouble and follower.receiver not in self._told:
                self._told.add(follower.receiver)
                self._report(f"{follower.receiver}: {follower.trouble}. The run goes on, and it is tried again.")
        self._report(news)


PATIENCE_SECONDS, SECONDS_BETWEEN_LOOKS = 2.0, 0.5
"""After how many seconds of waiting for receivers a person is told of it, and how long each look takes at most."""


def _ended(followers: Sequence[Follower], report: Callable[[str], None]) -> list[Delivery]:
    """Ends the processes, each when it has sent everything or says nothing any more; an interrupt ends them at once."""
    left, began, told = list(followers), monotonic(), False
    try:
        for follower in followers:
            follower.let_end()
        while waiting := [follower for follower in left if follower.seconds_left > 0]:
            select.select([follower.stream for follower in waiting], [], [], SECONDS_BETWEEN_LOOKS)
            left = [follower for follower in left if follower.hear()]
            if left and not told and monotonic() - began > PATIENCE_SECONDS:
                told = True
                report(f"Sending the rest to {', '.join(follower.receiver for follower in left)}.")
    except (KeyboardInterrupt, Terminated):
        pass  # the run itself has ended, and its result must not be lost
    return [follower.delivery(late=follower in left) for follower in followers]
