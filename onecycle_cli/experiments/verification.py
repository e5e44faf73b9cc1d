"""Verifies a suggestion by short cycles at lrs around it, scored on validation images (`find-lr --budget`)."""

import math
from itertools import islice

from onecycle_cli.analysis.lr_range import PlannedCycle, Suggestion, VerificationCycle, next_cycles
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.planning import recipe_schedule
from onecycle_cli.experiments.prepared_recipe import ALL_SEEDS, PreparedRecipe, fresh, some_of
from onecycle_cli.experiments.session import Session
from onecycle_cli.progress import Progress, Report
from onecycle_cli.recipe import Recipe, with_largest_max_lr, with_values
from onecycle_cli.run_dir.files import VERIFY, VERIFY_COLUMNS
from onecycle_cli.training.step_blocks import in_blocks

VERIFY_BUDGET, LARGEST_BUDGET = 0.25, 4.0
"""The budget of `--verify`, and the largest one: with it, the longest cycles have the length of the planned run."""

FEWEST_STEPS, FEWEST_UP = 16, 3
"""The least number of steps of a cycle, and of its way up, that make it useful.

Measured on the tasks of benchmarks/suggestion: cycles of 10 steps moved a good suggestion by 1.9 points for the worse.
"""


def budget_of(budget: float | None, *, verify: bool) -> float | None:
    """Returns the budget of the short cycles, as a share of the planned run; None for no cycles.

    `InputError` if it is out of range, or if `verify` names one too.
    """
    if budget is None:
        return VERIFY_BUDGET if verify else None
    if verify:
        raise InputError(
            f"verify and budget {budget:g} both name a budget.", f"verify is {VERIFY_BUDGET}: leave it out."
        )
    if not 0 < budget <= LARGEST_BUDGET:
        raise InputError(
            f"budget is {budget:g}.",
            f"Give the steps of all short cycles as a share of the planned run's: above 0, at most {LARGEST_BUDGET:g}.",
        )
    return budget


def short_cycles(
    recipe: Recipe, suggestion: Suggestion, prepared: PreparedRecipe, session: Session, *, budget: float
) -> list[VerificationCycle]:
    """Trains rounds of short cycles at lrs around a suggestion, all with the same initial weights and batches.

    The cycles are the recipe's own, made shorter, with another seed than its range tests. Returns an empty list, with a
    note, if the budget is too small for them.
    """
    whole = recipe.schedule.epochs * prepared.train.steps_per_epoch
    recipe = with_values(recipe, {"seed": (recipe.seed + ALL_SEEDS // 2) % ALL_SEEDS})
    fewest = max(FEWEST_STEPS, math.ceil(FEWEST_UP / recipe.schedule.share_up))
    done: list[VerificationCycle] = []

    def planned() -> list[PlannedCycle]:
        # Of rank 0 alone, as the suggestion is.
        return session.ranks.from_first(
            lambda: next_cycles(suggestion, done, total_steps=whole, budget=budget, fewest_steps=fewest)
        )

    if not planned():
        session.note(
            f"The suggestion is not verified: a budget of {budget:g} of the planned run of {whole} steps is too small "
            f"for cycles of {fewest} steps."
        )
        return []
    with session.run.table(VERIFY, VERIFY_COLUMNS) as table:
        while cycles := planned():
            session.report(
                f"Verifying with {len(cycles)} cycles of {cycles[0].steps} steps; the planned run has {whole}."
            )
            for number, cycle in enumerate(cycles, start=1):
                one = with_largest_max_lr(recipe, cycle.max_lr)
                done.append(_trained(one, prepared, cycle, f"cycle {number} of {len(cycles)}", session.report))
                table.append([vars(done[-1])])
    return done


def _trained(
    recipe: Recipe, prepared: PreparedRecipe, cycle: PlannedCycle, work: str, report: Report
) -> VerificationCycle:
    """Trains one cycle at the recipe's max_lr, and scores it on some validation images."""
    total, done = cycle.steps, 0
    trainer = fresh(recipe, prepared)
    steps = islice(trainer.steps(recipe_schedule(recipe, total / recipe.schedule.epochs)), total)
    for block in in_blocks(steps, prepared.hardware, recipe.runtime.log_every):
        last, done = block.steps[-1], done + len(block.steps)
        report(Progress(work, done, total, "steps", last.train_loss, last.lr, block.images_per_second))
        if not all(math.isfinite(step.train_loss) for step in block.steps):
            return VerificationCycle(cycle.max_lr, total, math.nan, math.nan)
    score = trainer.evaluate(some_of(prepared.valid, recipe.seed))
    return VerificationCycle(cycle.max_lr, total, score.loss, score.accuracy)
