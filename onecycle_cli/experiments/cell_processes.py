"""Cells of a sweep side by side on one machine: each in a process of its own."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from onecycle_cli.data.workers import no_modules_of_the_working_folder
from onecycle_cli.errors import Terminated
from onecycle_cli.experiments.cell_work import Bench, is_free, locked, record_failure
from onecycle_cli.experiments.cells import Cell, is_done
from onecycle_cli.experiments.session import Session
from onecycle_cli.models import OwnCode
from onecycle_cli.progress import Report, silent
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware
from onecycle_cli.training.signals import Ending

POLL_SECONDS = 0.5
"""The time between two looks at cells that other commands run."""


def run_in_processes(cells: Sequence[Cell], session: Session, jobs: int, after_each: Callable[[], None]) -> None:
    """Runs cells, `jobs` of them at once, until none is left to do. Calls `after_each` often, and after each cell."""
    sweep, report = session.run, session.report
    # Spawned, because torch's threads do not survive a fork.
    spawn = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // jobs)
    running: dict[int, tuple[Cell, SpawnProcess]] = {}
    begun, left = 0, list(cells)
    try:
        # A cell that is done stays so: only those that are left are looked at again. Its process may take a while to
        # end, and is not ended by force: its end is still to be told.
        while (left := [cell for cell in left if not is_done(cell, sweep)]) or running:
            busy = [cell.name for cell, _ in running.values()]
            for cell in left:
                if len(running) < jobs and cell.name not in busy and is_free(cell, sweep):
                    trusted = session.code is not None and session.code.trusted
                    how = (cell, sweep.path, session.hardware, threads, trusted)
                    process = spawn.Process(target=_alone, args=how, daemon=True)
                    with _left_to_the_parent(signal.SIGUSR1), no_modules_of_the_working_folder():
                        process.start()
                    running[process.sentinel] = (cell, process)
                    begun += 1
                    report(f"Cell {begun} of {max(begun, len(cells))} begins: {cell.name}")
            ended = wait(list(running), POLL_SECONDS)
            for sentinel in ended:
                assert isinstance(sentinel, int)
                cell, process = running.pop(sentinel)
                process.join()
                _told_end(cell, sweep, process.exitcode, report)
            if ended or not running:
                after_each()
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join()


@contextmanager
def _left_to_the_parent(number: signal.Signals) -> Iterator[None]:
    """Blocks a signal in the processes that the block starts; here it acts when the block ends.

    SLURM signals all processes of a job at once, and a worker that has not yet imported torch has no handler.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {number})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _alone(cell: Cell, sweep: Path, hardware: Hardware, threads: int, trusted: bool) -> None:
    """Runs one cell in a worker process. The parent handles interrupts, and ends the worker by SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, Ending())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    with suppress(Terminated):
        Bench().take(cell, Session(RunDir(sweep), hardware, silent, OwnCode(trusted)), threads=threads)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # Python would print what is raised while it shuts down


def _end_with_parent() -> None:
    """Ends this worker if its parent is killed: the user may want no more of this sweep."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)


def _told_end(cell: Cell, sweep: RunDir, code: int | None, report: Report) -> None:
    """Reports how a cell ended, also if its worker was killed; nothing if another process has it."""
    with locked(cell, sweep) as free:
        if not free:
            return
        if code and not is_done(cell, sweep):
            record_failure(cell, sweep, f"its process ended with code {code}")
    facts = RunDir(sweep.path / cell.name).facts
    report(f"{cell.name}: {facts['status']}" + (f", {facts['error']}" if facts.get("error") else ""))
