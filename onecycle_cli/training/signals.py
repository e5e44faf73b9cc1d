"""Signals that end the process: they raise `Terminated`, and act only where the work can stop safely."""

import os
import signal
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from onecycle_cli.errors import Terminated

Handler = Callable[[int, FrameType | None], object]

ENDING = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM)
"""The signals that end a command: to terminate it, a closed terminal, SLURM's `--signal`, and its own deadline."""


_OF_ANY_USE = (signal.SIGUSR1, signal.SIGALRM)


class Ending:
    """A signal handler that raises `Terminated`, once for several signals that come together.

    A cluster sends SIGUSR1 and SIGTERM within a minute, and each to a parent and its workers. While an exception that
    this handler raised is still on its way through the program, a further signal does nothing: it would cut off what
    is written at the end. A weak reference, because Python drops what is raised in a destructor; then the next signal
    has to raise again.
    """

    def __init__(self) -> None:
        self._raised: weakref.ref[Terminated] | None = None

    def __call__(self, number: int, _: FrameType | None) -> None:
        """Raises `Terminated`, unless an earlier one is on its way."""
        if self._raised is None or self._raised() is None:
            raise self._new(number)

    def _new(self, number: int) -> Terminated:
        # Not in __call__: its frame, which is in the traceback, would hold the exception that holds the traceback, and
        # one that was dropped would live on until Python looks for such circles.
        end = Terminated(number)
        self._raised = weakref.ref(end)
        return end


@contextmanager
def sent_again() -> Iterator[None]:
    """Sends a signal again, a moment later, whose exception Python has dropped in a destructor or a callback.

    It would be lost: a deadline of 1 ms came into a callback of an import, and the command ran to its end.
    """
    before, sent = sys.unraisablehook, list[threading.Timer]()

    def hear(dropped: "sys.UnraisableHookArgs") -> None:
        if isinstance(dropped.exc_value, Terminated):
            again = threading.Timer(MOMENT, os.kill, (os.getpid(), dropped.exc_value.number))
            again.daemon = True
            again.start()
            sent.append(again)
        else:
            before(dropped)

    sys.unraisablehook = hear
    try:
        yield
    finally:
        sys.unraisablehook = before
        for again in sent:  # after the block, a signal would kill the process
            again.cancel()


MOMENT = 0.05
"""The seconds until then: a callback of Python itself takes less."""


class Held:
    """The first interrupt since `held_back` started, if any; `let_go` lets it act."""

    def __init__(self) -> None:
        self._before: dict[int, Handler] = {}
        self._came: int | None = None

    @property
    def came(self) -> bool:
        """Whether an interrupt is waiting."""
        return self._came is not None

    @property
    def number(self) -> int:
        """The number of the signal that is waiting; 0 if none is."""
        return self._came or 0

    def let_go(self) -> None:
        """Calls the original handler of a waiting interrupt, which raises; does nothing without an interrupt."""
        if self._came is not None:
            number, self._came = self._came, None
            self._before[number](number, None)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._came is None:
            self._came = number
        elif number == signal.SIGINT:
            self._before[number](number, frame)


@contextmanager
def held_back() -> Iterator[Held]:
    """Delays the first interrupt until the block ends or calls `let_go`.

    Ctrl-C after it acts at once, since a person does not want to wait. Any other signal after it does nothing: clusters
    send several, and the first is still waiting for the end of the step.

    SIGUSR1 and SIGALRM are delayed only where they end a command (`Ending`). Only signals with a Python handler are
    delayed: an ignored signal stays ignored, and a signal whose default is to
    end the process still does. Python runs signal handlers in the main thread only; in other threads nothing is
    delayed.
    """
    held = Held()
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, *ENDING)}
        # SIG_IGN and SIG_DFL are not callable. And what a program uses SIGUSR1 and SIGALRM for is its own affair.
        held._before = {
            number: handler
            for number, handler in handlers.items()
            if callable(handler) and (number not in _OF_ANY_USE or isinstance(handler, Ending))
        }
    for number in held._before:
        signal.signal(number, held._take)
    try:
        yield held
    finally:
        for number, handler in held._before.items():
            signal.signal(number, handler)
    held.let_go()
