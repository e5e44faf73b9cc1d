"""The runs inside a sweep: each in a folder of its own, run once, and gone on with only where it did not end.

What a cell left in its folder is all that is known of it. So it makes no difference whether a sweep was interrupted, or
how many processes shared its cells.
"""

import hashlib
import json
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
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
from onecycle_cli.experiments.prepared_recipe import Setup, describe, is_same_network, prepare
from onecycle_cli.experiments.range_test import range_test
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train_with
from onecycle_cli.progress import Report, silent
from onecycle_cli.recipe import Recipe, load, result_settings, to_yaml, varied
from onecycle_cli.recipe.grid import folder_name
from onecycle_cli.run_dir.files import RECIPE, RUN, TRACEBACK, UNFINISHED
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

Mode = Literal["range", "train"]

ENDED = ("finished", "diverged", "collapsed")
"""The ends of a cell that are results."""


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    `values` are those of the fields that vary, the seed among them, by dotted name; `name` is the folder's, `key` a
    hash of everything that the result depends on. A range test has `repeats` repeats, each with a seed of its own.
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
    """A cell for each of the variations of `recipe`, called `source` in messages; all are checked before any is run."""
    signatures: dict[tuple[str | None, str], str] = {}
    cells: list[Cell] = []
    for values in variations:
        one = varied(recipe, values, source)
        where = (one.data.path, one.data.layout)
        if where not in signatures:
            signatures[where] = source_signature(one.data.source, *where)
        settings = result_settings(one, precision)
        key = fingerprint(settings | {"mode": mode, "repeats": repeats, "images": signatures[where]})
        name = folder_name(values)
        if any(cell.name == name for cell in cells):
            name = f"{name}-{key}"
        cells.append(Cell(name, values, one, mode, repeats, key))
    return cells


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Twelve hexadecimal digits that change with any of the settings, or with the version of onecycle."""
    text = json.dumps({**settings, "onecycle": __version__}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def ended(cell: Cell, sweep: RunDir) -> RunDir | None:
    """The run of the cell, if it has been run to its end."""
    run = RunDir(sweep.path / cell.name)
    if not (run.path / RUN).is_file():
        return None
    facts = run.facts
    return run if facts.get("cell") == cell.key and facts["status"] in ENDED else None


def row_of(cell: Cell, sweep: RunDir) -> dict[str, Any] | None:
    """What became of the cell: its values and its summary, status and error; None while it has not been run."""
    run = RunDir(sweep.path / cell.name)
    if not (run.path / RUN).is_file():
        return None
    facts = run.facts
    if facts["status"] == "running":
        return None
    return dict(cell.values) | run.summary | {"status": facts["status"], "error": facts.get("error")}


def run_cells(cells: Sequence[Cell], session: Session, *, jobs: int, after_each: Callable[[], None]) -> None:
    """Runs the cells that have not ended, `jobs` of them side by side, and calls `after_each` whenever one has."""
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
    """The cell's folder as it was left, where it can go on from a checkpoint; else a new one, the old one set aside."""
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
    """Where the training in `run` can go on, if it is the cell's and has come so far."""
    if cell.mode == "train" and (run.path / RUN).is_file():
        with suppress(InputError):  # what is damaged is begun again
            if run.facts.get("cell") == cell.key:
                return newest_checkpoint(run, silent)
    return None


class _Bench:
    """Runs one cell after another, and opens the data anew only where a cell needs other data or another network."""

    def __init__(self) -> None:
        self._setup: Setup | None = None
        self._recipe: Recipe | None = None

    def run(self, cell: Cell, session: Session) -> None:
        """Runs a cell to its end. An error in it is kept with it; an error of the disk is raised."""
        try:
            with session.run.recording():
                self._run(cell, session)
        except OSError:
            raise  # a full disk fails each cell that follows
        except Exception as error:
            self._setup = None  # after a lack of memory, it is what takes it
            if not isinstance(error, OnecycleError):
                session.run.write_text(TRACEBACK, traceback.format_exc())
            session.report(f"{cell.name} failed: {getattr(error, 'what', None) or error or type(error).__name__}")

    def _run(self, cell: Cell, session: Session) -> None:
        run = session.run
        checkpoint = _checkpoint(cell, run)
        recipe = cell.recipe if checkpoint is None else load(run.path / RECIPE)  # with the max_lr that was found
        if self._setup is None or self._recipe is None or not is_same_network(self._recipe, recipe):
            self._setup = None  # its memory is needed
            self._setup = prepare(recipe, session)
        else:
            describe(self._setup, run)
        self._recipe = recipe
        if cell.mode == "train":
            train_with(recipe, self._setup, session, checkpoint=checkpoint)
            return
        test = range_test(recipe, self._setup, session, repeats=cell.repeats)
        turn = turn_of(test.curves)
        curve = {name: getattr(turn, name) if turn else None for name in ("argmin_lr", "onset_lr", "reach_lr")}
        run.finish("finished", vars(test.suggestion) | curve | {"stop_lr": test.stop_lr})


def _side_by_side(cells: Sequence[Cell], session: Session, jobs: int, after_each: Callable[[], None]) -> None:
    sweep, report = session.run, session.report
    # Spawned, since torch's threads do not survive a fork.
    spawn = multiprocessing.get_context("spawn")
    threads = max(1, torch.get_num_threads() // jobs)
    waiting = list(cells)
    running: dict[int, tuple[Cell, SpawnProcess]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                cell = waiting.pop(0)
                run = _folder(cell, sweep)
                how = (run.path, cell.mode, cell.repeats, session.hardware, threads)
                process = spawn.Process(target=_alone, args=how, daemon=True)
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


def _alone(path: Path, mode: Mode, repeats: int, hardware: Hardware, threads: int) -> None:
    """Runs one cell in a process of its own, which leaves interrupts to its parent and ends when that tells it to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminate)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    run = RunDir(path)
    run.update(threads=threads)
    cell = Cell(path.name, {}, load(path / RECIPE), mode, repeats, run.facts["cell"])
    with suppress(Terminated):
        _Bench().run(cell, Session(run, hardware, silent))


def _end_with_parent() -> None:
    """Ends this process when its parent was killed: the sweep may be going on by then, and run the same cell."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os.kill(os.getpid(), signal.SIGKILL)


def _terminate(*_: object) -> None:
    raise Terminated


def _told_end(cell: Cell, sweep: RunDir, process: SpawnProcess, report: Report) -> None:
    """Tells how a cell ended; a process that was killed could not say so itself."""
    process.join()
    run = RunDir(sweep.path / cell.name)
    if run.facts["status"] == "running":
        run.update(status="failed", error=f"its process ended with code {process.exitcode}")
    facts = run.facts
    report(f"{cell.name}: {facts['status']}" + (f", {facts['error']}" if facts.get("error") else ""))
