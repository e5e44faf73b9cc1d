from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

Module = Callable[[str], ModuleType]
SGD = "mnist-2000-resnet8-32"


@pytest.fixture
def cycles() -> pd.DataFrame:
    """Cycles of 10 and 40 steps at three max_lrs; the last diverged after three steps in the longer one."""
    return pd.DataFrame(
        {
            "share": [0.1] * 3 + [0.4] * 3,
            "max_lr": [0.1, 1.0, 10.0] * 2,
            "steps": [10, 10, 10, 40, 40, 3],
            "valid_loss": [2.0, 1.0, 2.0, 1.0, 0.5, np.nan],
        }
    )


def test_a_range_test_costs_its_steps_and_three_cost_three_times_as_many(
    module: Module, judged: Callable[..., Any]
) -> None:
    task = judged()
    three = judged(tests={("recipe", 102): task.tests["recipe", 100]})
    answers = list(module("our_ways").range_tests([three]))
    assert [(answer.seed, answer.cost) for answer in answers] == [(100, 2.0), (101, 2.0), (102, 2.0), (0, 6.0)]
    assert answers[-1].way.endswith("`--repeats 3`")
    assert all(0.01 < answer.max_lr < 1 for answer in answers)
    # The run of 50 steps is short.
    assert {answer.confidence for answer in answers} == {"low"}


def test_a_short_cycle_is_interpolated_over_log_lr_and_log_steps(module: Module, cycles: pd.DataFrame) -> None:
    short = module("our_ways").ShortCycles(cycles, classes=10)
    assert short.loss(1.0, 10) == pytest.approx(1.0)
    assert short.loss(10**-0.5, 10) == pytest.approx(1.5)
    assert short.loss(1.0, 20) == pytest.approx(0.75)
    assert short.loss(10**-0.5, 20) == pytest.approx(1.125)
    # Diverged: three times ln 10.
    assert short.loss(10.0, 40) == pytest.approx(3 * np.log(10))


def test_beyond_the_measured_cycles_the_nearest_counts(module: Module, cycles: pd.DataFrame) -> None:
    short = module("our_ways").ShortCycles(cycles, classes=10)
    assert short.loss(1.0, 5) == short.loss(1.0, 10)
    assert short.loss(1.0, 400) == short.loss(1.0, 40)
    assert short.loss(0.001, 10) == short.loss(0.1, 10)


def test_shares_that_come_to_the_same_length_are_averaged(module: Module, cycles: pd.DataFrame) -> None:
    alike = cycles.assign(steps=10, valid_loss=[2.0, 1.0, 2.0, 1.0, 0.5, 4.0])
    short = module("our_ways").ShortCycles(alike, classes=10)
    assert [short.loss(lr, 10) for lr in (0.1, 1.0, 10.0)] == pytest.approx([1.5, 0.75, 3.0])


def test_a_planner_is_asked_until_it_plans_nothing(
    module: Module, judged: Callable[..., Any], cycles: pd.DataFrame
) -> None:
    """Its cycles are trained in the simulation, and the suggestion moves towards the better ones."""
    ours = module("our_ways")
    task = judged()
    first = module("answers").Curve(*vars(task.tests["recipe", 100]).values())
    suggestion = ours.suggest([first], task.plan)
    seen = []

    def planner(suggestion: Any, done: Any) -> list[Any]:
        seen.append(len(done))
        return [ours.PlannedCycle(factor * suggestion.max_lr, 20) for factor in (1 / 3, 1, 3)] if len(done) < 6 else []

    after, steps = ours.budgeted(suggestion, planner, ours.ShortCycles(cycles, 10), div_factor=10)
    assert seen == [0, 3, 6]
    assert steps == 120
    assert after.max_lr > suggestion.max_lr


def test_a_budget_that_is_too_small_plans_no_cycle(module: Module, judged: Callable[..., Any]) -> None:
    ours = module("our_ways")
    suggestion = ours.suggest([judged().tests["recipe", 100]], judged().plan)
    planners = ours.planners(100)
    assert planners["`--budget 0.25`"](suggestion, []) == []
    assert sum(cycle.steps for cycle in planners["`--budget 1`"](suggestion, [])) <= 100


def test_cycles_as_long_as_a_run_are_the_runs_themselves(
    module: Module, judged: Callable[..., Any], cycles: pd.DataFrame
) -> None:
    task = judged()
    runs = pd.DataFrame({"max_lr": task.task.grid[:2], "valid_loss": [0.4, np.nan], "steps": [50, 2]})
    joined = module("our_ways").with_whole_runs(cycles, module("answers").Judged(SGD, task.task, runs, task.truth, 50))
    assert len(joined) == 8
    assert list(joined.valid_loss[-2:]) == pytest.approx([0.4, 3 * np.log(10)])
    assert list(joined.share[-2:]) == [1, 1]
