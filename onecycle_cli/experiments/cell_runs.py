"""Runs the cells of a sweep: one after another, side by side on this machine, or on a Ray cluster.

Several commands may work on the same sweep at once. Each takes cells that are free, and then waits for the others.
"""

from collections.abc import Callable, Sequence
from time import sleep

from onecycle_cli.experiments.cell_processes import POLL_SECONDS, run_in_processes
from onecycle_cli.experiments.cell_work import WAITING, Bench, is_free
from onecycle_cli.experiments.cells import ATTEMPT, Cell, begin_attempt, is_done
from onecycle_cli.experiments.ray_cluster import RayOptions
from onecycle_cli.experiments.session import Session


def run_cells(
    cells: Sequence[Cell],
    session: Session,
    *,
    jobs: int = 1,
    ray: RayOptions | None = None,
    after_each: Callable[[], None],
) -> None:
    """Runs the cells that have no result, `jobs` of them in parallel, or as `ray` says. Returns when all are done.

    Calls `after_each` first, after each cell, and now and then while other commands run the last cells.
    """
    if session.run.facts.get(ATTEMPT) is None:
        begin_attempt(session.run)
    left = [cell for cell in cells if not is_done(cell, session.run)]
    if len(left) < len(cells):
        session.report(f"{len(cells) - len(left)} of {len(cells)} cells were run before.")
    after_each()
    if not left:
        return
    if ray is not None:
        from onecycle_cli.experiments.ray_cells import run_on_ray

        run_on_ray(left, session, ray, after_each)
    elif jobs == 1:
        _in_turn(left, session, after_each)
    else:
        run_in_processes(left, session, jobs, after_each)


def _in_turn(cells: Sequence[Cell], session: Session, after_each: Callable[[], None]) -> None:
    bench, sweep, left = Bench(), session.run, list(cells)
    while left := [cell for cell in left if not is_done(cell, sweep)]:
        cell = next((cell for cell in left if is_free(cell, sweep)), None)
        if cell is None:
            session.ranks.from_first(lambda: WAITING)
            sleep(POLL_SECONDS)
        else:
            session.report(f"Cell {1 + cells.index(cell)} of {len(cells)}: {cell.name}")
            bench.take(cell, session)
        after_each()


def follow_cells(session: Session) -> None:
    """Computes the cells that the first of several ranks runs, with it; returns when it calls `end_following`."""
    Bench().follow(session)


def end_following(session: Session) -> None:
    """Tells the other ranks, if there are any, that no cell is left."""
    session.ranks.from_first(lambda: None)
