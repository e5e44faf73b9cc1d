"""The plan of a sweep: the values that vary, and how commands agree on it in the sweep's folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from time import sleep
from typing import Any

from onecycle_cli.analysis.batch_size import epochs_in_equal_time, sizes_around
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.batch_size import try_batch_size
from onecycle_cli.experiments.cell_processes import POLL_SECONDS
from onecycle_cli.experiments.cells import Cell, Mode, fingerprint, plan_cells
from onecycle_cli.experiments.ownership import Ownership
from onecycle_cli.experiments.planning import of_length
from onecycle_cli.experiments.prepared_recipe import prepare
from onecycle_cli.experiments.session import Session
from onecycle_cli.recipe import Recipe, result_settings
from onecycle_cli.run_dir.files import SWEEP_PLAN
from onecycle_cli.run_dir.run import RunDir, in_use


@dataclass(frozen=True)
class SweepPlan:
    """The plan of a sweep: `variations` of the recipe, each a mapping of dotted field names to values.

    `repeats` is the number of seeds: of the range tests of a cell, or of the cells of each variation. Without
    variations they are batch sizes around the recipe's, which follow from measured speeds.
    """

    recipe: Recipe
    mode: Mode
    variations: Sequence[Mapping[str, Any]]
    repeats: int

    @property
    def fields(self) -> list[str]:
        """The dotted names of the fields that vary, without the seed."""
        return list(dict.fromkeys(field for values in self.variations for field in values))

    def cells(self, precision: str, source: str) -> list[Cell]:
        """Returns the cells, in the order of the grid. `InputError` if a variation is not a valid recipe."""
        first = self.recipe.seed
        seeds = [{"seed": first + n} for n in range(self.repeats)] if self.mode == "train" else [{}]
        variations = [{**values, **seed} for values in self.variations for seed in seeds]
        repeats = 1 if self.mode == "train" else self.repeats
        return plan_cells(self.recipe, variations, mode=self.mode, precision=precision, repeats=repeats, source=source)

    def fixed(self, precision: str) -> dict[str, Any]:
        """Returns what all cells share. A sweep can be resumed only by a plan that shares the same."""
        settings = result_settings(self.recipe, precision)
        shared = {name: value for name, value in settings.items() if name not in self.fields}
        return {"fields": self.fields, "mode": self.mode, "repeats": self.repeats, "settings": shared}


def sweep_name(command: str, plan: SweepPlan, precision: str) -> str:
    """Returns the default name of a sweep's folder. The same command with the same plan gives the same name."""
    variations = [dict(values) for values in plan.variations]
    return f"{command}-{plan.recipe.name}-{fingerprint(plan.fixed(precision) | {'variations': variations})[:8]}"


BATCH_FACTORS = (1 / 4, 1 / 2, 1, 2, 4)
"""The multiples of the recipe's batch size that the preset `batch-size` compares."""


def equal_time(recipe: Recipe, session: Session) -> list[dict[str, Any]]:
    """Returns variations with batch sizes around the recipe's, each with as many epochs as take the same time.

    Source: Smith's report, remark 4: batch sizes are to be compared at equal time. A resumed sweep keeps its first
    measurement.
    """
    if (session.run.path / SWEEP_PLAN).is_file():
        saved: list[dict[str, Any]] = session.run.read_json(SWEEP_PLAN)["variations"]
        return saved
    prepared = prepare(recipe, session)
    session.report("Timing steps of each batch size.")
    sizes = sizes_around(recipe.data.batch_size, BATCH_FACTORS, len(prepared.train.labels))
    tried = [try_batch_size(recipe, prepared, size) for size in {*sizes, recipe.data.batch_size}]
    speeds = {trial.batch_size: trial.images_per_second for trial in tried}
    own = speeds[recipe.data.batch_size]
    return [
        {"data.batch_size": size} | of_length(recipe, epochs_in_equal_time(recipe.schedule.epochs, own, speed))
        for size in sizes
        if own and (speed := speeds[size])
    ]


def joined(plan: SweepPlan, run: RunDir, precision: str) -> SweepPlan:
    """Adds the variations that the sweep in `run` already has, first, and saves the joined plan there.

    `InputError` if the folder holds a sweep of other fields or with other settings.
    """
    fixed = plan.fixed(precision)
    variations = list(plan.variations)
    if (run.path / SWEEP_PLAN).is_file():
        saved = run.read_json(SWEEP_PLAN)
        _must_be_the_same(fixed, saved, run)
        variations = saved["variations"] + [values for values in variations if values not in saved["variations"]]
    run.write_json(SWEEP_PLAN, fixed | {"variations": variations})
    return SweepPlan(plan.recipe, plan.mode, variations, plan.repeats)


def _must_be_the_same(fixed: Mapping[str, Any], saved: Mapping[str, Any], run: RunDir) -> None:
    differing = [name for name in ("fields", "mode", "repeats") if fixed[name] != saved[name]]
    here, there = fixed["settings"], saved["settings"]
    differing += [field for field in sorted({*here, *there}) if here.get(field) != there.get(field)]
    if differing:
        raise InputError(f"{run.path} holds another sweep: {', '.join(differing)} differ.", "Give another --name.")


def agreed(plan: SweepPlan, session: Session, owner: Ownership) -> SweepPlan:
    """Returns the plan of the sweep in the session's folder, which the owner of the sweep saves there.

    Any other command takes the saved plan, as soon as there is one. `InputError` if the folder holds another sweep, or
    if this plan has values that the plan of the owner lacks.
    """
    run, precision = session.run, session.hardware.precision
    while not owner.owns():
        if (run.path / SWEEP_PLAN).is_file():
            saved = run.read_json(SWEEP_PLAN)
            asked = plan if plan.variations else replace(plan, variations=saved["variations"])
            _must_be_the_same(asked.fixed(precision), saved, run)
            if any(values not in saved["variations"] for values in plan.variations):
                raise in_use(run)
            return replace(plan, variations=saved["variations"])
        sleep(POLL_SECONDS)
    if not plan.variations:
        plan = replace(plan, variations=equal_time(plan.recipe, session))
    return joined(plan, run, precision)
