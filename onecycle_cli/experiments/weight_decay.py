"""The weight decay sweep: the same range test for several values, and which of them to take."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from onecycle_cli.analysis.weight_decay import Reading, SweepRow, bisected, read_weight_decay
from onecycle_cli.experiments.planning import decay_gain
from onecycle_cli.experiments.sweep import Row, SweepPlan, columns, draw_curves, joined, rows_of, run_plan
from onecycle_cli.progress import Report
from onecycle_cli.recipe import Recipe, as_written
from onecycle_cli.recipe.grid import folder_name
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

FIELD = "optimizer.weight_decay"


@dataclass(frozen=True)
class WeightDecaySweep:
    """All rows of a sweep, by column, and what they say."""

    columns: list[str]
    rows: list[Row]
    reading: Reading


def weight_decay_plan(recipe: Recipe, repeats: int) -> SweepPlan:
    """The recipe's weight decays as a sweep."""
    return SweepPlan(recipe, "range", variations_of(recipe.sweep_wd.weight_decays), repeats)


def variations_of(weight_decays: Sequence[float]) -> list[dict[str, float]]:
    """A cell for each weight decay."""
    return [{FIELD: value} for value in weight_decays]


def sweep_wd(
    plan: SweepPlan, hardware: Hardware, run: RunDir, report: Report, *, source: str, refine: bool = False
) -> WeightDecaySweep:
    """Runs the range test for each weight decay of the plan, from the same weights on the same batches.

    Each value is a full range test in a folder of its own inside `run`; beside them lie the table and the overlay. With
    `refine`, the values half-way to the chosen one's neighbours are tested too, and all are read again.
    """

    def read() -> Reading:
        rows = rows_of(cells, run, plan.mode)
        found = read_weight_decay([_as_read(row) for row in rows], decay_gain(plan.recipe))
        if found.chosen is None:
            reasons = [f"{as_written(row['weight_decay'])}: {row['error']}" for row in rows]
            return replace(found, reason="\n  ".join([found.reason, *reasons]))
        return found

    cells = run_plan(plan, hardware, run, report, jobs=1, source=source)
    reading = read()
    if refine and reading.chosen is not None:
        values = [cell.values[FIELD] for cell in cells]
        between = bisected(values, reading.chosen.weight_decay)
        if not between:
            report("There is no weight decay between the chosen one and its neighbours to refine it with.")
        plan = joined(SweepPlan(plan.recipe, plan.mode, variations_of(between), plan.repeats), run, hardware.precision)
        cells = run_plan(plan, hardware, run, report, jobs=1, source=source)
        reading = read()
    rows = rows_of(cells, run, plan.mode)
    chosen = next(
        (cell for cell in cells if reading.chosen and cell.values[FIELD] == reading.chosen.weight_decay), None
    )
    draw_curves(plan.recipe.name, cells, rows, run, report, chosen=chosen)
    return WeightDecaySweep(columns(cells, plan.mode), rows, reading)


def _as_read(row: Row) -> SweepRow:
    return SweepRow(
        row["weight_decay"],
        argmin_lr=row["argmin_lr"],
        onset_lr=row["onset_lr"],
        reach_lr=row["reach_lr"],
        stop_lr=row["stop_lr"],
        max_lr=row["max_lr"],
        status=row["status"],
    )


def value_folder(weight_decay: float) -> str:
    """The name of a value's folder in the sweep's: `weight_decay=1e-3`."""
    return folder_name({FIELD: weight_decay})
