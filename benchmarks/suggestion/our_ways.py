"""Our own ways of choosing max_lr: a range test, three of them, and short cycles around the suggestion."""

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
from answers import Answer, Judged, groups
from numpy.typing import NDArray

from onecycle_cli.analysis.lr_range import Curve, PlannedCycle, Suggestion, VerificationCycle, suggest, verified
from onecycle_cli.analysis.lr_range.verification import next_cycles
from onecycle_cli.experiments.verification import FEWEST_STEPS

KIND = "onecycle"
FIND_LR = "onecycle `find-lr`"
BUDGETS = (0.25, 0.5, 1.0)
"""In planned runs, beside the range test."""


Planner = Callable[[Suggestion, Sequence[VerificationCycle]], Sequence[PlannedCycle]]
"""The next cycles, from the suggestion and all cycles so far; none when it is time to decide."""


def planners(total_steps: int) -> dict[str, Planner]:
    """The budgets of short cycles, by name."""

    def planner(budget: float) -> Planner:
        return lambda suggestion, done: next_cycles(
            suggestion, done, total_steps=total_steps, budget=budget, fewest_steps=FEWEST_STEPS
        )

    return {f"`--budget {budget:g}`": planner(budget) for budget in BUDGETS}


class ShortCycles:
    """The validation loss of a cycle of any max_lr and length, interpolated over log lr and over log steps.

    From cycles of one seed over the grid of max_lr, of some lengths; beyond the shortest and the longest they count as
    these. A diverged cycle has three times the loss of a uniform answer.
    """

    def __init__(self, cycles: pd.DataFrame, classes: int) -> None:
        cycles = cycles.assign(valid_loss=cycles.valid_loss.fillna(3 * np.log(classes)))
        # Lengths are those that were asked for: a diverged cycle ended early.
        lengths = cycles.groupby("share").steps.transform("max")
        grid = cycles.groupby([lengths.rename("length"), "max_lr"]).valid_loss.mean().unstack().dropna(axis=1)
        self.log_steps = np.log(grid.index.to_numpy(dtype=float))
        self.log_lrs = np.log(grid.columns.to_numpy(dtype=float))
        self._losses: NDArray[np.float64] = grid.to_numpy()

    def loss(self, max_lr: float, steps: int) -> float:
        """The validation loss."""
        at_lengths = [float(np.interp(np.log(max_lr), self.log_lrs, losses)) for losses in self._losses]
        return float(np.interp(np.log(steps), self.log_steps, at_lengths))

    def train(self, cycle: PlannedCycle) -> VerificationCycle:
        """What a cycle would have come to."""
        return VerificationCycle(cycle.max_lr, cycle.steps, self.loss(cycle.max_lr, cycle.steps), np.nan)


def range_tests(tasks: Sequence[Judged]) -> Iterator[Answer]:
    """A range test, and each three of them read together."""
    for judged in tasks:
        tests = list(judged.tests_over("recipe"))
        for seed, curve in tests:
            yield _answer(judged, FIND_LR, seed, [curve], suggest([curve], judged.plan))
        for number, three in enumerate(combinations([curve for _, curve in tests], 3)):
            yield _answer(judged, f"{FIND_LR}, `--repeats 3`", number, three, suggest(three, judged.plan))


def with_short_cycles(tasks: Sequence[Judged], short: pd.DataFrame) -> Iterator[Answer]:
    """A range test and short cycles, each test with each seed of the cycles that were trained over the whole grid."""
    for judged in tasks:
        of_task = [
            (seed, with_whole_runs(cycles, judged)) for seed, cycles in groups(short[short.task == judged.name], "seed")
        ]
        grids = {seed: ShortCycles(cycles, judged.task.classes) for seed, cycles in of_task}
        whole = {seed: grid for seed, grid in grids.items() if len(grid.log_lrs) == len(judged.task.grid)}
        for seed, curve in judged.tests_over("recipe") if whole else ():
            first = suggest([curve], judged.plan)
            for name, planner in planners(judged.steps).items():
                for cycle_seed, grid in whole.items():
                    better, cycled = budgeted(first, planner, grid, judged.plan.div_factor)
                    key = 10 * seed + cycle_seed % 10
                    yield _answer(judged, f"{FIND_LR}, {name}", key, [curve], better, cycled)


def with_whole_runs(cycles: pd.DataFrame, judged: Judged) -> pd.DataFrame:
    """Short cycles and, as cycles of the whole length, the mean of the runs over the grid."""
    runs = judged.runs[judged.runs.max_lr.isin(judged.task.grid)]
    means = runs.assign(valid_loss=runs.valid_loss.fillna(3 * np.log(judged.task.classes))).groupby("max_lr")
    whole = means.agg({"valid_loss": "mean", "steps": "max"}).reset_index().assign(share=1.0)
    return pd.concat([cycles[["share", "max_lr", "steps", "valid_loss"]], whole])


def budgeted(
    suggestion: Suggestion, planner: Planner, simulated: ShortCycles, div_factor: float
) -> tuple[Suggestion, int]:
    """The suggestion after the cycles of `planner`, and the steps that they took."""
    done: list[VerificationCycle] = []
    while suggestion.max_lr is not None and (planned := planner(suggestion, done)):
        done += [simulated.train(cycle) for cycle in planned]
    after = verified(suggestion, done, div_factor=div_factor) if done else suggestion
    return after, sum(cycle.steps for cycle in done)


def _answer(
    judged: Judged, way: str, seed: int, curves: Sequence[Curve], suggestion: Suggestion, cycled: int = 0
) -> Answer:
    return Answer(
        KIND,
        way,
        judged.name,
        seed,
        suggestion.max_lr,
        cost=(sum(len(curve.lrs) for curve in curves) + cycled) / judged.steps,
        confidence=suggestion.confidence,
        expected=suggestion.expected_points_lost,
        bound=suggestion.points_lost_90,
        guess=suggestion.typical_max_lr,
    )
