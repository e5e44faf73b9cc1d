"""The weight decay sweep: a range test for each of several values, and the choice among them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from onecycle_cli.analysis.weight_decay import SweepRow, WeightDecayChoice, bisected, read_weight_decay
from onecycle_cli.experiments.cell_runs import end_following
from onecycle_cli.experiments.following import Following
from onecycle_cli.experiments.ownership import Ownership, shared
from onecycle_cli.experiments.planning import decay_gain
from onecycle_cli.experiments.ray_cluster import RayOptions
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.sweep import Row, columns, draw_curves, rows_of, run_plan
from onecycle_cli.experiments.sweep_plan import SweepPlan
from onecycle_cli.recipe import Recipe, as_written
from onecycle_cli.recipe.grid import folder_name

FIELD = "optimizer.weight_decay"


@dataclass(frozen=True)
class WeightDecaySweep:
    """A finished weight decay sweep: its rows, the choice, and the content of `summary.json`."""

    columns: list[str]
    rows: list[Row]
    reading: WeightDecayChoice
    summary: dict[str, Any]


def weight_decay_plan(recipe: Recipe, repeats: int) -> SweepPlan:
    """Plans a sweep over the recipe's `sweep_wd.weight_decays`, with `repeats` range tests each."""
    return SweepPlan(recipe, "range", variations_of(recipe.sweep_wd.weight_decays), repeats)


def variations_of(weight_decays: Sequence[float]) -> list[dict[str, float]]:
    """Returns a variation for each weight decay."""
    return [{FIELD: value} for value in weight_decays]


def sweep_wd(
    plan: SweepPlan,
    session: Session,
    *,
    source: str | None = None,
    refine: bool = False,
    ray: RayOptions | None = None,
) -> WeightDecaySweep:
    """Runs the range test for each weight decay of the plan, with the same initial weights and batches.

    Each range test has its own folder inside the run's folder, which also gets the table and a figure of all curves.
    With `refine`, the values half-way between the chosen one and its neighbours are tested too, and the choice is made
    again. With `ray`, the tests run on the Ray cluster that is connected. If another command runs the same sweep
    already, this one joins it. `source` is the name of the recipe in messages. `InputError` if the folder holds another
    sweep.

    Several ranks compute each test together: the first one calls this, and the others `follow_cells`.
    """
    following = Following(plan.recipe, session)
    session = following.session
    with shared(session.run, following) as owner:
        swept = _swept(plan, session, owner, source or plan.recipe.name, refine, ray)
        owner.finish(swept.summary)
    end_following(session)
    return swept


def _swept(
    plan: SweepPlan, session: Session, owner: Ownership, source: str, refine: bool, ray: RayOptions | None
) -> WeightDecaySweep:
    def read() -> WeightDecayChoice:
        rows = rows_of(cells, session.run, plan.mode)
        found = read_weight_decay([_as_read(row) for row in rows], decay_gain(plan.recipe))
        if found.chosen is None:
            reasons = [f"{as_written(row['weight_decay'])}: {row['error']}" for row in rows]
            return replace(found, reason="\n  ".join([found.reason, *reasons]))
        return found

    asked = plan
    plan, cells = run_plan(plan, session, owner, ray=ray, source=source)
    reading = read()
    refined_before = not owner.records and len(plan.variations) > len(asked.variations)
    if refine and reading.chosen is not None and not refined_before:
        values = [cell.values[FIELD] for cell in cells]
        between = bisected(values, reading.chosen.weight_decay)
        if not between:
            session.report("There is no weight decay between the chosen one and its neighbours to refine it with.")
        owner.record()  # there is more to do than the owner before had, if there was one
        refined = SweepPlan(plan.recipe, plan.mode, variations_of(between) or plan.variations, plan.repeats)
        plan, cells = run_plan(refined, session, owner, ray=ray, source=source)
        reading = read()
    rows = rows_of(cells, session.run, plan.mode)
    chosen = next(
        (cell for cell in cells if reading.chosen and cell.values[FIELD] == reading.chosen.weight_decay), None
    )
    draw_curves(plan.recipe.name, cells, rows, session, chosen=chosen)
    summary = {
        "weight_decay": reading.chosen and reading.chosen.weight_decay,
        "max_lr": reading.chosen and reading.chosen.max_lr,
        "reason": reading.reason,
        "chosen_run": reading.chosen and str(session.run.path / value_folder(reading.chosen.weight_decay)),
        "rows": rows,
    }
    return WeightDecaySweep(columns(cells, plan.mode), rows, reading, summary)


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
    """Returns the name of the folder of a value, such as `weight_decay=1e-3`."""
    return folder_name({FIELD: weight_decay})
