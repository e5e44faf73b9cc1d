"""Sweeps: range tests or trainings over a grid of a recipe's fields, with a table and a ranking."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import sleep
from typing import Any

from onecycle_cli.analysis.comparison import differing, labels, numbered
from onecycle_cli.analysis.lr_range import shape_of
from onecycle_cli.analysis.ranking import CellResult, Ranked, ranked, verdict
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.cell_processes import POLL_SECONDS
from onecycle_cli.experiments.cell_runs import run_cells
from onecycle_cli.experiments.cells import Cell, Mode, row_of
from onecycle_cli.experiments.compare import plot_runs, read_run
from onecycle_cli.experiments.drawing import draw
from onecycle_cli.experiments.following import Following
from onecycle_cli.experiments.ownership import Ownership, shared
from onecycle_cli.experiments.ray_cluster import RayOptions
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.suggestions import saved_curves
from onecycle_cli.experiments.sweep_plan import SweepPlan, agreed
from onecycle_cli.recipe import as_written
from onecycle_cli.recipe.grid import column_names
from onecycle_cli.run_dir.files import (
    EPOCHS,
    LR_RANGE,
    RANGE_CELL_COLUMNS,
    RANKING,
    RANKING_COLUMNS,
    SWEEP,
    SWEEP_FIGURE,
    TRAIN_CELL_COLUMNS,
)
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.writing import to_csv

Row = dict[str, Any]


@dataclass(frozen=True)
class Sweep:
    """A finished sweep: a row for each cell, in the order of the grid, and for trainings a ranking and the best cell.

    `names` are the columns that vary, `best` is the first cell with the values that did best, `seconds` what each
    training took, and `summary` what `summary.json` has.
    """

    names: list[str]
    columns: list[str]
    rows: list[Row]
    ranking: list[Ranked]
    verdict: str | None
    best: Cell | None
    seconds: list[float]
    summary: dict[str, Any]


def sweep(
    plan: SweepPlan, session: Session, *, jobs: int = 1, ray: RayOptions | None = None, source: str | None = None
) -> Sweep:
    """Runs the cells of a plan that have not ended, `jobs` of them side by side, and reads them all.

    With `ray`, they run on the Ray cluster that is connected. If another command runs the same sweep already, this one
    joins it, and both return the same. A cell that fails is a row. `ranking.csv` has the means over seeds, `sweep.png`
    the curves of all cells. `source` is what messages call the recipe. `InputError` where the folder holds another
    sweep.
    """
    following = Following(plan.recipe, session)
    session = following.session
    with shared(session.run, following) as owner:
        plan, cells = run_plan(plan, session, owner, jobs=jobs, ray=ray, source=source or plan.recipe.name)
        swept = _read(plan, cells, session)
        owner.finish(swept.summary)
    return swept


def _read(plan: SweepPlan, cells: Sequence[Cell], session: Session) -> Sweep:
    run = session.run
    names, rows = varying(cells), rows_of(cells, run, plan.mode)
    ranking: list[Ranked] = []
    told, best, seconds = None, None, []
    if plan.mode == "range":
        draw_curves(plan.recipe.name, cells, rows, session, chosen=None)
    else:
        ranking = ranked([_cell_result(cell, row) for cell, row in zip(cells, rows, strict=True)])
        _write_ranking(plan.fields, ranking, run)
        draw_trainings(cells, session, SWEEP_FIGURE)
        told, best = verdict(ranking, _valid_images(cells, run)), _best(cells, ranking)
        seconds = [row["seconds"] for cell in cells if (row := row_of(cell, run)) and row.get("seconds")]
    summary = {
        "cells": len(rows),
        "finished": sum(row["status"] == "finished" for row in rows),
        "verdict": told,
        "best": best and {field: best.values[field] for field in plan.fields},
        "best_run": best and str(run.path / best.name),
        "rows": rows,
        "ranking": ranking,
    }
    return Sweep(names, columns(cells, plan.mode), rows, ranking, told, best, seconds, summary)


def _best(cells: Sequence[Cell], ranking: Sequence[Ranked]) -> Cell | None:
    if not ranking[0].n:
        return None
    return next(cell for cell in cells if ranking[0].values.items() <= cell.values.items())


def run_plan(
    plan: SweepPlan, session: Session, owner: Ownership, *, jobs: int = 1, ray: RayOptions | None = None, source: str
) -> tuple[SweepPlan, list[Cell]]:
    """Runs the cells that have no result, and rewrites `sweep.csv` after each.

    Returns the plan and its cells when all are done and this command owns the sweep.
    """
    done: SweepPlan | None = None
    while True:
        plan = agreed(plan, session, owner)
        if plan != done:  # the owner may have added values meanwhile
            cells = plan.cells(session.hardware.precision, source)
            run_cells(cells, session, jobs=jobs, ray=ray, after_each=_keeping_table(plan, cells, session.run, owner))
            done = plan
        elif owner.owns():
            return plan, cells
        else:
            sleep(POLL_SECONDS)


def _keeping_table(plan: SweepPlan, cells: Sequence[Cell], run: RunDir, owner: Ownership) -> Callable[[], None]:
    """Returns a function that writes `sweep.csv` if this command owns the sweep and the table has changed."""
    names, written = columns(cells, plan.mode), ""

    def keep() -> None:
        nonlocal written
        if owner.owns():
            rows = rows_of(cells, run, plan.mode)
            table = to_csv(names, [[row[name] for name in names] for row in rows])
            if table != written:
                run.write_text(SWEEP, table)
                written = table

    return keep


def varying(cells: Sequence[Cell]) -> list[str]:
    """Returns the column names of the fields that vary."""
    return list(column_names(list(cells[0].values)).values())


def columns(cells: Sequence[Cell], mode: Mode) -> list[str]:
    """Returns the columns of a sweep's table: the fields that vary, then the results."""
    names = varying(cells)
    results = RANGE_CELL_COLUMNS if mode == "range" else TRAIN_CELL_COLUMNS
    return [*names, *(name for name in results if name not in names)]


def rows_of(cells: Sequence[Cell], run: RunDir, mode: Mode) -> list[Row]:
    """Returns a row for each cell that has ended, as a mapping by column."""
    rows = []
    for cell in cells:
        found = row_of(cell, run)
        if found is None:
            continue
        names = column_names(list(cell.values))
        row = {name: found.get(name) for name in columns(cells, mode)}
        row |= {names[field]: as_cell(value) for field, value in cell.values.items()}
        rows.append(row | _end(found, mode))
    return rows


def _end(found: Row, mode: Mode) -> Row:
    """Returns status and error of a cell. A range test that ends without a max_lr has a status for that."""
    if mode == "train" or found["status"] != "finished" or found["max_lr"] is not None:
        return {"status": found["status"], "error": found["error"]}
    return {"status": "diverged" if found["argmin_lr"] is None else "no suggestion", "error": found["reason"]}


def as_cell(value: Any) -> Any:
    """Formats a recipe's value for a table: numbers stay numbers, other values become text as in YAML."""
    return value if isinstance(value, int | float) and not isinstance(value, bool) else as_written(value)


def _cell_result(cell: Cell, row: Row) -> CellResult:
    values = {field: value for field, value in cell.values.items() if field != "seed"}
    ended = row["status"] == "finished"
    return CellResult(values, row["valid_loss"] if ended else None, row["valid_accuracy"] if ended else None)


def _write_ranking(fields: Sequence[str], ranking: Sequence[Ranked], run: RunDir) -> None:
    names = column_names(fields)
    lines = [
        [*(as_cell(row.values.get(field)) for field in fields), *(getattr(row, name) for name in RANKING_COLUMNS)]
        for row in ranking
    ]
    run.write_text(RANKING, to_csv([*names.values(), *RANKING_COLUMNS], lines))


def _valid_images(cells: Sequence[Cell], run: RunDir) -> int:
    counts = [RunDir(run.path / cell.name).facts.get("images") for cell in cells]
    return next((count["valid"] for count in counts if count), 1)


def draw_trainings(cells: Sequence[Cell], session: Session, figure: str, by: str | None = None) -> None:
    """Draws losses, accuracies and lrs of all trainings, as `compare` does.

    They are labelled by the value that the cells have for `by`, or by the fields that differ.
    """
    runs, values = [], []
    for cell in cells:
        if (session.run.path / cell.name / EPOCHS).is_file():
            with suppress(InputError):  # one damaged cell must not cost the figure of the others
                runs.append(read_run(RunDir(session.run.path / cell.name)))
                values.append(str(cell.values[by]) if by else "")
    if runs:
        fields = differing(runs)
        shown = numbered(values) if by else labels(runs, fields, column_names(fields))
        draw(session, figure, lambda path: plot_runs(path, runs, shown)[0])


def draw_curves(
    name: str, cells: Sequence[Cell], rows: Sequence[Row], session: Session, *, chosen: Cell | None
) -> None:
    """Draws the curves of all range tests together, labelled by the fields that vary."""

    def plot(path: Path) -> str:
        from onecycle_cli.figures.plots import Overlaid, plot_sweep

        curves = [
            Overlaid(_label(cell), shape_of(saved_curves(RunDir(session.run.path / cell.name))), row["reach_lr"])
            for cell, row in zip(cells, rows, strict=True)
            if (session.run.path / cell.name / LR_RANGE).is_file()
        ]
        fields, best = ", ".join(varying(cells)), _label(chosen) if chosen else None
        title = f"{name}: range tests by {fields}"
        return plot_sweep(path, title=title, curves=curves, fields=fields, chosen=best)

    draw(session, SWEEP_FIGURE, plot)


def _label(cell: Cell) -> str:
    return ", ".join(as_written(value) for value in cell.values.values())
