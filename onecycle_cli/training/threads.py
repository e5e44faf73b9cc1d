"""Sharing CPU cores between processes: the number of threads of a training step, and turns between processes.

Two processes with one thread per core each are not two but ten times slower. The threads of a step wait for each other
in busy loops; on a core that another process uses, each wait lasts until the system switches between them (measured in
benchmarks/results/side_by_side.csv). So a small step uses one thread, and processes whose steps use most of the cores
take turns, step by step. Other processes never change a bit of a result.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from filelock import FileLock, Timeout

from onecycle_cli.data.cores import cores

SMALL_STEP = 100_000_000
"""The multiply-adds in the forward pass of a batch below which a step uses one thread: a second one gains nothing."""

PATIENCE_SECONDS = 120.0
"""The longest wait for a turn; after it, the process continues, since the process with the turn may be suspended."""

REST_SECONDS = 600.0
"""The time without turns after a wait of `PATIENCE_SECONDS`, or after an error with a lock file."""

POLL_SECONDS = 0.001
"""The time between two checks for the turn."""


def threads_of(step: int | None) -> int:
    """Returns the threads for a step of `step` multiply-adds: 1 below `SMALL_STEP`, else torch's number of threads.

    An unknown number, None, counts as a large one.
    """
    import torch

    return 1 if step is not None and step < SMALL_STEP else torch.get_num_threads()


def threads_beside(workers: int) -> int:
    """Returns the threads of torch beside `workers` processes that are busy: the cores that are left, at least one."""
    import torch

    return min(torch.get_num_threads(), max(1, cores() - workers))


@contextmanager
def using_threads(threads: int) -> Iterator[None]:
    """Sets torch's number of threads to `threads` inside the block."""
    import torch

    before = torch.get_num_threads()
    if threads == before:
        yield
        return
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class Turns:
    """Turns between the processes of one user on one machine: only one process at a time runs a `taken` block.

    A process takes the queue lock before the turn lock, so that waiting processes go before the one that had the last
    turn. A process takes turns only if `threads` is more than half of its cores.
    """

    def __init__(self, threads: int) -> None:
        self._shared = 2 * threads > cores()
        self._resting_until = 0.0
        folder = Path(tempfile.gettempdir())
        self._queue, self._turn = (
            FileLock(folder / f"onecycle-{os.getuid()}-{name}.lock", timeout=PATIENCE_SECONDS)
            for name in ("queue", "turn")
        )

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Waits for the turn and releases it after the block; if waiting fails, the block runs without a turn."""
        got = self._shared and monotonic() >= self._resting_until and self._wait()
        try:
            yield
        finally:
            if got:
                self._turn.release()

    def _wait(self) -> bool:
        try:
            with self._queue.acquire(poll_interval=POLL_SECONDS):
                self._turn.acquire(poll_interval=POLL_SECONDS)
        except (Timeout, OSError):  # a missing folder, or a lock file of another user
            self._resting_until = monotonic() + REST_SECONDS
            return False
        return True
