"""Interrupts (Ctrl-C, SIGTERM, a terminal that closes) that wait until the work in hand can be left."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

Handler = Callable[[int, FrameType | None], object]


class Held:
    """What has come so far: nothing, or the first interrupt, which `let_go` lets act."""

    def __init__(self) -> None:
        self._before: dict[int, Handler] = {}
        self._came: int | None = None

    @property
    def came(self) -> bool:
        """Whether there was an interrupt."""
        return self._came is not None

    def let_go(self) -> None:
        """Does what the interrupt does elsewhere, which is to raise; nothing where there was none."""
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
    """Holds the first interrupt back until the block ends or lets it go; a second one acts at once.

    What is ignored stays ignored, and what would end the process on the spot still does. Python hears of signals in the
    main thread alone; in others nothing is held back.
    """
    held = Held()
    if threading.current_thread() is threading.main_thread():
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
        # SIG_IGN and SIG_DFL are no functions.
        held._before = {number: handler for number, handler in handlers.items() if callable(handler)}
    for number in held._before:
        signal.signal(number, held._take)
    try:
        yield held
    finally:
        for number, handler in held._before.items():
            signal.signal(number, handler)
    held.let_go()
