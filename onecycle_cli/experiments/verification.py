"""Verifies a suggestion by short cycles at lrs around it, scored on validation images (`find-lr --verify`)."""

import math
from itertools import islice

from onecycle_cli.analysis.lr_range import VerificationCycle
from onecycle_cli.experiments.planning import recipe_schedule
from onecycle_cli.experiments.prepared_recipe import ALL_SEEDS, PreparedRecipe, fresh, some_of
from onecycle_cli.experiments.session import Session
from onecycle_cli.progress import Progress, Report
from onecycle_cli.recipe import Recipe, with_largest_max_lr, with_values
from onecycle_cli.run_dir.files import VERIFY, VERIFY_COLUMNS
from onecycle_cli.training.step_blocks import in_blocks

FACTORS = (1 / 3, 1.0, 3.0)
"""The multiples of the suggested max_lr that are tried."""

SHARE = 1 / 12
"""The length of each cycle, as a share of the planned run. The three cycles take a quarter of it together."""

FEWEST_STEPS, FEWEST_UP = 16, 3
"""The least number of steps of a cycle, and of its way up, that make it useful.

Measured on the tasks of benchmarks/suggestion: cycles of 10 steps moved a good suggestion by 1.9 points for the worse.
"""


def short_cycles(recipe: Recipe, max_lr: float, prepared: PreparedRecipe, session: Session) -> list[VerificationCycle]:
    """Trains short cycles at several lrs around `max_lr`, all with the same initial weights and batches.

    The cycles are the recipe's own, made shorter, with another seed than its range tests. Returns an empty list, with a
    note, if the planned run is too short for them.
    """
    whole = recipe.schedule.epochs * prepared.train.steps_per_epoch
    recipe = with_values(recipe, {"seed": (recipe.seed + ALL_SEEDS // 2) % ALL_SEEDS})
    steps = round(SHARE * whole)
    if steps < max(FEWEST_STEPS, FEWEST_UP / recipe.schedule.share_up):
        session.note(f"The planned run of {whole} steps is too short to be verified by cycles of {steps}.")
        return []
    session.report(f"Verifying with {len(FACTORS)} cycles of {steps} steps; the planned run has {whole}.")
    trials = []
    with session.run.table(VERIFY, VERIFY_COLUMNS) as table:
        for number, factor in enumerate(FACTORS, start=1):
            one = with_largest_max_lr(recipe, factor * max_lr)
            trials.append(_trial(one, prepared, steps, f"cycle {number} of {len(FACTORS)}", session.report))
            table.append([vars(trials[-1])])
    return trials


def _trial(recipe: Recipe, prepared: PreparedRecipe, total: int, work: str, report: Report) -> VerificationCycle:
    """Trains one cycle of `total` steps at the recipe's max_lr, and scores it on some validation images."""
    max_lr = recipe.schedule.largest_max_lr
    assert max_lr is not None
    trainer = fresh(recipe, prepared)
    steps = islice(trainer.steps(recipe_schedule(recipe, total / recipe.schedule.epochs)), total)
    done = 0
    for block in in_blocks(steps, prepared.hardware, recipe.runtime.log_every):
        last, done = block.steps[-1], done + len(block.steps)
        report(Progress(work, done, total, "steps", last.train_loss, last.lr, block.images_per_second))
        if not all(math.isfinite(step.train_loss) for step in block.steps):
            return VerificationCycle(max_lr, done, math.nan, math.nan)
    score = trainer.evaluate(some_of(prepared.valid, recipe.seed))
    return VerificationCycle(max_lr, total, score.loss, score.accuracy)
