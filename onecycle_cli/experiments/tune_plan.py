"""The measurements before a tuning and the plan that follows from them. Both are saved, so that a tuning can resume."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from onecycle_cli.analysis.tuning import (
    BATCH_SIZE,
    FINAL_REPEATS,
    NOISE_SEEDS,
    Cost,
    TuningPlan,
    TuningStage,
    planned,
    stages,
)
from onecycle_cli.data.epochs import steps_per_epoch
from onecycle_cli.errors import InputError, MachineError
from onecycle_cli.experiments.batch_size import try_batch_size
from onecycle_cli.experiments.own_code import own_code_settings
from onecycle_cli.experiments.planning import of_length, recipe_schedule
from onecycle_cli.experiments.prepared_recipe import prepare
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.suggestions import numbers_in
from onecycle_cli.recipe import Recipe, differences, result_settings, with_max_lr, with_values
from onecycle_cli.run_dir.files import TUNE_STATE


@dataclass(frozen=True)
class Measured:
    """The measurements in `tune.json`: the number of training images, the speed of each batch size, and the costs.

    `speeds` maps each batch size that fits in memory to images per second. `seconds` is the time that measuring took.
    """

    images: int
    speeds: Mapping[int, float]
    cost: Cost
    seconds: float


def measured(recipe: Recipe, session: Session) -> Measured:
    """Times real steps at each batch size that may be tried, or reads the measurements of a tuning that is resumed.

    `InputError` if the folder holds a tuning with other settings, `MachineError` if the recipe's batch size does not
    fit in memory.
    """
    settings = result_settings(recipe, session.hardware.precision) | own_code_settings(recipe)
    if not (session.run.path / TUNE_STATE).is_file():
        session.run.write_json(TUNE_STATE, {"settings": settings, "has_time": {}} | _measure(recipe, session))
    state = session.run.read_json(TUNE_STATE)
    with numbers_in(session.run, TUNE_STATE):
        found = Measured(
            int(state["images"]),
            {int(size): float(speed) for size, speed in state["speeds"].items()},
            Cost(**state["cost"]),
            float(state["seconds"]),
        )
        changed = differences(state["settings"], settings)
    if changed:
        listed = "\n".join(f"  {setting}" for setting in changed)
        raise InputError(f"{session.run.path} holds a tuning under other settings:\n{listed}", "Give another --name.")
    return found


def _measure(recipe: Recipe, session: Session) -> dict[str, Any]:
    started = perf_counter()
    prepared = prepare(recipe, session)
    images, own = len(prepared.train.labels), recipe.data.batch_size
    least_epochs(recipe, images)  # refuses a cycle that is too short
    sizes = [
        own,
        *(values[BATCH_SIZE] for stage in _stages(recipe, images) for values in stage.values if BATCH_SIZE in values),
    ]
    session.report("Timing steps.")
    trials = [try_batch_size(recipe, prepared, size) for size in sizes]
    speeds = {trial.batch_size: trial.images_per_second for trial in trials if trial.images_per_second is not None}
    if own not in speeds:
        raise MachineError(
            f"A batch of {own:,} images does not fit in memory.",
            "Set a smaller data.batch_size; `onecycle find-batch-size` finds the largest that fits.",
        )
    scored = perf_counter()
    prepared.trainer.evaluate(prepared.valid)
    scoring = perf_counter() - scored
    cost = Cost(own, range_test=recipe.find_lr.num_steps * own / speeds[own], epoch=images / speeds[own] + scoring)
    return {"images": images, "speeds": speeds, "cost": vars(cost), "seconds": perf_counter() - started}


def plan_within(budget: float, recipe: Recipe, found: Measured) -> TuningPlan:
    """Plans the length of the short runs and the stages of a tuning. `InputError` if `budget` seconds are too few."""
    cost, least = found.cost, least_epochs(recipe, found.images)
    tried = [_fitting(stage, found) for stage in _stages(recipe, found.images)]
    plan = planned(
        [stage for stage in tried if stage.values], cost, budget - found.seconds, recipe.schedule.epochs, least
    )
    if plan is None:
        seconds = NOISE_SEEDS * least * cost.epoch + (1 + FINAL_REPEATS) * cost.range_test
        raise InputError(
            f"A budget of {budget:.0f} s is too short: an epoch takes {cost.epoch:.1f} s, a range test "
            f"{cost.range_test:.1f} s.",
            f"Give at least --budget {1.2 * seconds + found.seconds:.0f}s.",
        )
    return plan


def least_epochs(recipe: Recipe, images: int) -> int:
    """Returns the fewest epochs in which the recipe's cycle fits. `InputError` if the recipe itself has too few."""
    recipe = with_max_lr(recipe, 1.0)
    steps = steps_per_epoch(images, recipe.data.batch_size, drop_last=recipe.data.drop_last)
    for epochs in range(1, recipe.schedule.epochs):
        with suppress(InputError):
            recipe_schedule(with_values(recipe, of_length(recipe, epochs)), steps)
            return epochs
    recipe_schedule(recipe, steps)
    return recipe.schedule.epochs


def _stages(recipe: Recipe, images: int) -> list[TuningStage]:
    schedule, decay = recipe.schedule, recipe.optimizer.weight_decay
    momentum = (schedule.max_momentum, schedule.at_peak)
    found = stages(
        recipe.data.batch_size, decay, recipe.sweep_wd.weight_decays, momentum, images, cycles=schedule.cycles
    )
    least = 2 * recipe.data.accumulate  # a micro-batch has two images or more
    return [TuningStage(one.name, [v for v in one.values if v.get(BATCH_SIZE, least) >= least]) for one in found]


def _fitting(stage: TuningStage, found: Measured) -> TuningStage:
    """Returns the stage without the batch sizes that do not fit in memory."""
    return TuningStage(
        stage.name, [values for values in stage.values if values.get(BATCH_SIZE, found.cost.batch_size) in found.speeds]
    )
