"""Work on the cells of a sweep: each is a run in its own folder. A finished cell is never run again, others resume.

All state of a cell is in its folder, and a lock of its own lets one process at a time work there. So neither an
interrupt nor the number of workers changes a result.
"""

import traceback
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from onecycle_cli.analysis.lr_range import turn_of
from onecycle_cli.data.images import Source
from onecycle_cli.errors import InputError, OnecycleError, ReportedElsewhere, machine_error
from onecycle_cli.experiments.cells import ATTEMPT, Cell, is_done
from onecycle_cli.experiments.checkpoints import Checkpoint, newest_checkpoint
from onecycle_cli.experiments.own_code import keep_code
from onecycle_cli.experiments.prepared_recipe import PreparedRecipe, describe, is_same_network, prepare
from onecycle_cli.experiments.range_test import range_test
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train_with
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, load, to_yaml
from onecycle_cli.run_dir import writing
from onecycle_cli.run_dir.facts import this_process
from onecycle_cli.run_dir.files import BEFORE_TRAINING, CELL_LOCK, RECIPE, RUN, TRACEBACK, UNFINISHED
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.unwritten import UnwrittenRun
from onecycle_cli.run_dir.writing import move


@contextmanager
def locked(cell: Cell, sweep: RunDir) -> Iterator[bool]:
    """Locks a cell against all other processes, without waiting; yields False if one of them works on it.

    The operating system frees the lock when its process dies.
    """
    from filelock import Timeout

    with ExitStack() as held:
        try:
            held.enter_context(writing.locked(sweep.path / CELL_LOCK.format(cell=cell.name)))
        except Timeout:
            yield False
        else:
            yield True


def is_free(cell: Cell, sweep: RunDir) -> bool:
    """Whether a cell is left to run, and no process works on it now."""
    if is_done(cell, sweep):
        return False
    with locked(cell, sweep) as free:
        return free


def cell_folder(cell: Cell, sweep: RunDir) -> RunDir:
    """Returns the cell's folder if it has a checkpoint; else renames the old folder, if any, and makes a new one.

    The caller has the cell's lock.
    """
    path = sweep.path / cell.name
    if _checkpoint(cell, RunDir(path)) is not None:
        RunDir(path).resume(kept=BEFORE_TRAINING)
        RunDir(path).update(**{ATTEMPT: sweep.facts.get(ATTEMPT)})
        return RunDir(path)
    if path.exists():
        free = next(n for n in count(1) if not path.with_name(f"{path.name}{UNFINISHED}{n}").exists())
        move(path, path.with_name(f"{path.name}{UNFINISHED}{free}"))
    run = sweep.inner(cell.name, to_yaml(cell.recipe))
    run.update(cell=cell.key, seed=cell.recipe.seed, **this_process())
    return run


def record_failure(cell: Cell, sweep: RunDir, error: str) -> None:
    """Records that a cell failed outside of its own process. The caller has the cell's lock."""
    run = RunDir(sweep.path / cell.name)
    begun = (run.path / RUN).is_file() and run.facts.get("cell") == cell.key
    (run if begun else cell_folder(cell, sweep)).update(
        status="failed", error=error, **{ATTEMPT: sweep.facts.get(ATTEMPT)}
    )


def _checkpoint(cell: Cell, run: RunDir) -> Checkpoint | None:
    """Returns the checkpoint that the cell can continue from, or None."""
    if cell.mode == "train" and (run.path / RUN).is_file():
        with suppress(InputError):  # a damaged cell starts again
            if run.facts.get("cell") == cell.key:
                return newest_checkpoint(run, silent)
    return None


@dataclass(frozen=True)
class _SharedWork:
    """What the first rank tells the others of the cell that it begins: with its recipe and checkpoint, and its run."""

    cell: Cell
    recipe: Recipe
    checkpoint: Checkpoint | None
    path: Path
    facts: dict[str, Any]


WAITING = "waiting"
"""What the first rank tells the others while another command runs the last cells."""


def _never() -> _SharedWork | str | None:
    raise AssertionError("only the first rank says what comes next")


class Bench:
    """Runs cells one after another. Data and network are prepared again only if a cell needs others."""

    def __init__(self) -> None:
        self._prepared: PreparedRecipe | None = None
        self._recipe: Recipe | None = None

    def take(self, cell: Cell, session: Session, source: Source | None = None, **facts: object) -> bool:
        """Runs a cell of the sweep in the session's folder to its end; False if another process has the cell.

        `source` has the images, if they are read already. `facts` are added to the `run.json` of the cell.
        """
        sweep = session.run
        with locked(cell, sweep) as free:
            if free and not is_done(cell, sweep):
                run = cell_folder(cell, sweep)
                run.update(**facts)
                self.run(cell, session.at(run), source)
            return free

    def run(self, cell: Cell, session: Session, source: Source | None = None) -> None:
        """Runs a cell in its own folder to its end. Its error is kept there; an error of the disk is raised.

        `source` has the images, if they are read already.
        """
        try:
            with session.run.recording():
                self._run(cell, session, source)
        except OSError:
            raise  # a full disk would fail every later cell too
        except Exception as error:
            if isinstance(error, OnecycleError) and error.of_disk:
                raise
            if session.ranks.several and not getattr(error, "is_of_group", False):
                raise  # the other ranks do not know of it, and cannot go on with the next cell
            self._prepared = None  # frees its memory, which may have been the problem
            known = error if isinstance(error, OnecycleError) else machine_error(error)
            if known is None:
                session.run.write_text(TRACEBACK, traceback.format_exc())
            session.report(f"{cell.name} failed: {known.what if known else str(error) or type(error).__name__}")

    def _run(self, cell: Cell, session: Session, source: Source | None) -> None:
        checkpoint = _checkpoint(cell, session.run)
        recipe = (
            cell.recipe if checkpoint is None else load(session.run.intact(RECIPE))
        )  # this one has the max_lr that was found
        if session.ranks.several:
            run = session.run
            session.ranks.from_first(lambda: _SharedWork(cell, recipe, checkpoint, run.path, run.facts))
            self._work_together(cell, recipe, checkpoint, session)
        else:
            self._work(cell, recipe, checkpoint, session, source)

    def follow(self, session: Session) -> None:
        """Does the work of a rank other than the first: computes with it each cell that it runs, until it has ended."""
        while (shared := session.ranks.from_first(_never)) is not None:
            if isinstance(shared, str):
                continue
            run = UnwrittenRun(shared.path, shared.facts)
            try:
                self._work_together(shared.cell, shared.recipe, shared.checkpoint, session.at(run))
            except OnecycleError as error:
                if not error.is_of_group:
                    raise
                self._prepared = None  # as on the first rank, which records the error and goes on

    def _work_together(self, cell: Cell, recipe: Recipe, checkpoint: Checkpoint | None, session: Session) -> None:
        """Works on a cell on one of several ranks. An error that all of them know of becomes the same one on each."""
        try:
            self._work(cell, recipe, checkpoint, session, None)
        except OnecycleError as error:
            if not (error.is_of_group or isinstance(error, ReportedElsewhere)):
                raise
            told = session.ranks.all(None if isinstance(error, ReportedElsewhere) else (error.what, error.fix))
            first = InputError(*next(one for one in told if one is not None))
            first.is_of_group = True
            raise first from error

    def _work(
        self, cell: Cell, recipe: Recipe, checkpoint: Checkpoint | None, session: Session, source: Source | None
    ) -> None:
        run = session.run
        if self._prepared is None or self._recipe is None or not is_same_network(self._recipe, recipe):
            self._prepared = None  # frees its memory first
            self._prepared = prepare(recipe, session, source)
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
