"""`find-lr --verify`: a few short cycles around the suggestion; what they reach on validation images has a say."""

import math
from itertools import islice

from onecycle_cli.analysis.lr_range import VerificationCycle
from onecycle_cli.experiments.planning import recipe_schedule, share_up
from onecycle_cli.experiments.prepared_recipe import ALL_SEEDS, Setup, fresh, some_of
from onecycle_cli.experiments.session import Session
from onecycle_cli.progress import Progress, Report
from onecycle_cli.recipe import Recipe, with_largest_max_lr, with_values
from onecycle_cli.run_dir.files import VERIFY, VERIFY_COLUMNS
from onecycle_cli.training.step_blocks import in_blocks

FACTORS = (1 / 3, 1.0, 3.0)
"""Of the suggested max_lr, that are tried."""

SHARE = 1 / 12
"""Of the planned run's steps, that each cycle takes: a quarter of the run together."""

FEWEST_STEPS, FEWEST_UP = 16, 3
"""Steps of a cycle and of its way up, below which it says nothing.

Measured on the tasks of benchmarks/suggestion: cycles of 10 steps moved a good suggestion by 1.9 points for the worse.
"""


def short_cycles(recipe: Recipe, max_lr: float, setup: Setup, session: Session) -> list[VerificationCycle]:
    """Trains a short cycle at each of some max_lrs around `max_lr`, all from the same weights on the same batches.

    The cycles are the recipe's own but for their length, on weights and batches that its range tests did not have.
    There are none where the planned run is too short for them.
    """
    whole = recipe.schedule.epochs * setup.train.steps_per_epoch
    recipe = with_values(recipe, {"seed": (recipe.seed + ALL_SEEDS // 2) % ALL_SEEDS})
    steps = round(SHARE * whole)
    if steps < max(FEWEST_STEPS, FEWEST_UP / share_up(recipe.schedule)):
        session.note(f"The planned run of {whole} steps is too short to be verified by cycles of {steps}.")
        return []
    session.report(f"Verifying with {len(FACTORS)} cycles of {steps} steps; the planned run has {whole}.")
    trials = []
    with session.run.table(VERIFY, VERIFY_COLUMNS) as table:
        for number, factor in enumerate(FACTORS, start=1):
            one = with_largest_max_lr(recipe, factor * max_lr)
            trials.append(_trial(one, setup, steps, f"cycle {number} of {len(FACTORS)}", session.report))
            table.append([vars(trials[-1])])
    return trials


def _trial(recipe: Recipe, setup: Setup, total: int, work: str, report: Report) -> VerificationCycle:
    """One cycle of `total` steps at the recipe's max_lr, scored on some validation images."""
    max_lr = recipe.schedule.largest_max_lr
    assert max_lr is not None
    trainer = fresh(recipe, setup)
    steps = islice(trainer.steps(recipe_schedule(recipe, total / recipe.schedule.epochs)), total)
    done = 0
    for block in in_blocks(steps, setup.hardware, recipe.runtime.log_every):
        last, done = block.steps[-1], done + len(block.steps)
        report(Progress(work, done, total, "steps", last.train_loss, last.lr, block.images_per_second))
        if not all(math.isfinite(step.train_loss) for step in block.steps):
            return VerificationCycle(max_lr, done, math.nan, math.nan)
    score = trainer.evaluate(some_of(setup.valid, recipe.seed))
    return VerificationCycle(max_lr, total, score.loss, score.accuracy)
