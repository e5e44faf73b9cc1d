"""Delayed interrupts (Ctrl-C, SIGTERM, a closed terminal): they act only where the work can stop safely."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


class Held:
    """The first interrupt since `held_back` started, if any; `let_go` lets it act."""

    def __init__(self) -> None:
        self._before: dict[int, Handler] = {}
        self._came: int | None = None

    @property
    def came(self) -> bool:
        """Whether an interrupt is waiting."""
        return self._came is not None

    def let_go(self) -> None:
        """Calls the original handler of a waiting interrupt, which raises; does nothing without an interrupt."""
        if self._came is not None:
            number, self._came = self._came, None
            self._before[number](number, None)

    def _take(self, number: int, frame: FrameType | None) -> None:
        if self._came is None:
            self._came = number
        else:
            self._before[number](number, frame)


@contextmanager
def held_back() -> Iterator[Held]:
    """Delays the first interrupt until the block ends or calls `let_go`; a second interrupt acts at once.

    Only signals with a Python handler are delayed: an ignored signal stays ignored, and a signal whose default is to
    end the process still does. Python runs signal handlers in the main thread only; in other threads nothing is
    delayed.
    """
    held = Held()
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        # SIG_IGN and SIG_DFL are not callable.
        held._before = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in held._before:
        signal.signal(number, held._take)
    try:
        yield held
    finally:
        for number, handler in held._before.items():
            signal.signal(number, handler)
    held.let_go()
