"""The cells of a sweep: each is a run in its own folder. A finished cell is never run again, others resume.

All state of a cell is in its folder. So neither an interrupt nor the number of workers changes a result.
"""

import hashlib
import json
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from multiprocessing.connection import wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any, Literal

import torch

from onecycle_cli import __version__
from onecycle_cli.analysis.lr_range import turn_of
from onecycle_cli.data.open_data import source_signature
from onecycle_cli.errors import InputError, OnecycleError, Terminated
from onecycle_cli.experiments.checkpoints import Checkpoint, newest_checkpoint
from onecycle_cli.experiments.own_code import keep_code, own_code_settings
from onecycle_cli.experiments.prepared_recipe import PreparedRecipe, describe, is_same_network, prepare
from onecycle_cli.experiments.range_test import range_test
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train_with
from onecycle_cli.models import OwnCode
from onecycle_cli.progress import Report, silent
from onecycle_cli.recipe import Recipe, load, result_settings, to_yaml, varied
from onecycle_cli.recipe.grid import folder_name
from onecycle_cli.run_dir.files import RECIPE, RUN, TRACEBACK, UNFINISHED
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware
from onecycle_cli.training.signals import Ending

Mode = Literal["range", "train"]

ENDED = ("finished", "diverged", "collapsed")
"""The statuses of a cell that has a result."""


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    `values` maps the dotted names of the fields that vary, and the seed, to their values. `name` is the name of the
    folder. `key` is a hash of everything that the result depends on. `repeats` is the number of range tests, each with
    its own seed.
    """

    name: str
    values: Mapping[str, Any]
    recipe: Recipe
    mode: Mode
    repeats: int
    key: str


def plan_cells(
    recipe: Recipe,
    variations: Sequence[Mapping[str, Any]],
    *,
    mode: Mode,
    precision: str,
    repeats: int,
    source: str,
) -> list[Cell]:
    """Makes and checks a cell for each variation of `recipe`. `source` is the name of the recipe in messages."""
    signatures: dict[object, str] = {}
    cells: list[Cell] = []
    for values in variations:
        one = varied(recipe, values, source)
        images = one.data.images
        if images not in signatures:
            signatures[images] = source_signature(one.data)
        settings = result_settings(one, precision) | own_code_settings(one)
        key = fingerprint(settings | {"mode": mode, "repeats": repeats, "images": signatures[images]})
        name = folder_name(values)
        if any(cell.name == name for cell in cells):
            name = f"{name}-{key}"
        cells.append(Cell(name, values, one, mode, repeats, key))
    return cells


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Hashes settings and the version of onecycle to twelve hexadecimal digits."""
    text = json.dumps({**settings, "onecycle": __version__}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def ended(cell: Cell, sweep: RunDir) -> RunDir | None:
    """Returns the run of the cell if it has a result, else None."""
    run = RunDir(sweep.path / cell.name)
    if not (run.path / RUN).is_file():
        return None
    facts = run.facts
    return run if facts.get("cell") == cell.key and facts["status"] in ENDED else None


def row_of(cell: Cell, sweep: RunDir) -> dict[str, Any] | None:
    """Returns the values, summary, status and error of a cell that has ended; None for any other."""
    run = RunDir(sweep.path / cell.name)
    if not (run.path / RUN).is_file():
        return None
    facts = run.facts
    if facts["status"] == "running":
        return None
    return dict(cell.values) | run.summary | {"status": facts["status"], "error": facts.get("error")}


def run_cells(cells: Sequence[Cell], session: Session, *, jobs: int, after_each: Callable[[], None]) -> None:
    """Runs the cells that have no result, `jobs` of them in parallel. Calls `after_each` first, and after each cell."""
    sweep, report = session.run, session.report
    left = [cell for cell in cells if not ended(cell, sweep)]
    if len(left) < len(cells):
        report(f"{len(cells) - len(left)} of {len(cells)} cells were run before.")
    after_each()
    if jobs == 1:
        bench = _Bench()
        for number, cell in enumerate(left, start=1):
            report(f"Cell {number} of {len(left)}: {cell.name}")
            bench.run(cell, session.at(_folder(cell, sweep)))
            after_each()
    else:
        _side_by_side(left, session, jobs, after_each)


def _folder(cell: Cell, sweep: RunDir) -> RunDir:
    """Returns the cell's folder if it has a checkpoint; else renames the old folder, if any, and makes a new one."""
    path = sweep.path / cell.name
    if _checkpoint(cell, RunDir(path)) is not None:
        RunDir(path).resume()
        return RunDir(path)
    if path.exists():
        free = next(n for n in count(1) if not path.with_name(f"{path.name}{UNFINISHED}{n}").exists())
        path.rename(path.with_name(f"{path.name}{UNFINISHED}{free}"))
    run = sweep.inner(cell.name, to_yaml(cell.recipe))
    run.update(cell=cell.key, seed=cell.recipe.seed)
    return run


def _checkpoint(cell: Cell, run: RunDir) -> Checkpoint | None:
    """Returns the checkpoint that the cell can continue from, or None."""
    if cell.mode == "train" and (run.path / RUN).is_file():
        with suppress(InputError):  # a damaged cell starts again
            if run.facts.get("cell") == cell.key:
                return newest_checkpoint(run, silent)
    return None


class _Bench:
    """Runs cells one after another. Data and network are prepared again only if a cell needs others."""

    def __init__(self) -> None:
        self._prepared: PreparedRecipe | None = None
        self._recipe: Recipe | None = None

    def run(self, cell: Cell, session: Session) -> None:
        """Runs a cell to its end. An error is kept in the cell's folder; an error of the disk is raised."""
        try:
            with session.run.recording():
                self._run(cell, session)
        except OSError:
            raise  # a full disk would fail every later cell too
        except Exception as error:
            self._prepared = None  # frees its memory, which may have been the problem
            if not isinstance(error, OnecycleError):
                session.run.write_text(TRACEBACK, traceback.format_exc())
            session.report(f"{cell.name} failed: {getattr(error, 'what', None) or error or type(error).__name__}")

    def _run(self, cell: Cell, session: Session) -> None:
        run = session.run
        checkpoint = _checkpoint(cell, run)
        recipe = (
            cell.recipe if checkpoint is None else load(run.path / RECIPE)
        )  # this one has the max_lr that was found
        if self._prepared is None or self._recipe is None or not is_same_network(self._recipe, recipe):
            self._prepared = None  # frees its memory first
            self._prepared = prepare(recipe, session)
        else:
            keep_code(recipe, run)
            describe(self._prepared, run)
        self._recipe = recipe
        if cell.mode == "train":
            train_with(recipe, self._prepared, session, checkpoint=checkpoint)
            return
        test = range_test(recipe, self._prepared, session, repeats=cell.repeats)
        turn = turn_of(test.curves)
        curve = {name: getattr(turn, name) if turn else None for name in ("argmin_lr", "onset_lr", "reach_lr")}
        run.finish("finished", vars(test.suggestion) | curve | {"stop_lr": test.stop_lr})


def _side_by_side(cells: Sequence[Cell], session: Session, jobs: int, after_each: Callable[[], None]) -> None:
    sweep, report = session.run, session.report
    # Spawned, because torch's threads do not survive a fork.
    spawn = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // jobs)
    waiting = list(cells)
    running: dict[int, tuple[Cell, SpawnProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                cell = waiting.pop(0)
                run = _folder(cell, sweep)
                trusted = session.code is not None and session.code.trusted
                how = (run.path, cell.mode, cell.repeats, session.hardware, threads, trusted)
                process = spawn.Process(target=_alone, args=how, daemon=True)
                with _left_to_the_parent(signal.SIGUSR1):
                    process.start()
                running[process.sentinel] = (cell, process)
                report(f"Cell {len(cells) - len(waiting)} of {len(cells)} begins: {cell.name}")
            for sentinel in wait(list(running)):
                assert isinstance(sentinel, int)
                cell, process = running.pop(sentinel)
                _told_end(cell, sweep, process, report)
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


def _alone(path: Path, mode: Mode, repeats: int, hardware: Hardware, threads: int, trusted: bool) -> None:
    """Runs one cell in a worker process. The parent handles interrupts, and ends the worker by SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, Ending())
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    run = RunDir(path)
    run.update(threads=threads)
    cell = Cell(path.name, {}, load(path / RECIPE), mode, repeats, run.facts["cell"])
    with suppress(Terminated):
        _Bench().run(cell, Session(run, hardware, silent, OwnCode(trusted)))


def _end_with_parent() -> None:
    """Ends this worker if its parent is killed: a resumed sweep may run the same cell."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)


def _told_end(cell: Cell, sweep: RunDir, process: SpawnProcess, report: Report) -> None:
    """Reports how a cell ended, also if its worker was killed."""
    process.join()
    run = RunDir(sweep.path / cell.name)
    if run.facts["status"] == "running":
        run.update(status="failed", error=f"its process ended with code {process.exitcode}")
    facts = run.facts
    report(f"{cell.name}: {facts['status']}" + (f", {facts['error']}" if facts.get("error") else ""))
