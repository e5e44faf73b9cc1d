from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

Module = Callable[[str], ModuleType]
SGD, ADAMW = "mnist-2000-resnet8-32", "mnist-2000-resnet8-128-adamw-long"


def test_quasi_random_values_are_one_in_each_part(module: Module) -> None:
    shares = module("searches").quasi_random_shares()
    for count in (2, 4, 8):
        assert (np.sort((count * shares[:, :count]).astype(int), axis=1) == np.arange(count)).all()
    assert len(np.unique(shares[:, 0])) == len(shares)
    assert shares.mean() == pytest.approx(0.5, abs=0.01)


def test_a_search_goes_over_the_range_of_its_optimizer(module: Module, judged: Callable[..., Any]) -> None:
    searches = module("searches")
    ends = np.array([[0.0, 0.5, 1.0]])
    assert searches.trained(judged(SGD), ends)[0][0] == pytest.approx([1e-3, 0.1, 10])
    assert searches.trained(judged(ADAMW), ends)[0][0] == pytest.approx([1e-5, 1e-3, 0.1])


def test_the_best_run_that_was_seen_wins(module: Module) -> None:
    max_lrs, seen = np.array([[0.1, 0.2], [0.3, 0.4]]), np.array([[0.9, 0.8], [0.1, 0.2]])
    assert list(module("searches").winners(max_lrs, seen)) == [0.1, 0.4]


def test_searches_are_summed_up_as_the_least_to_the_greatest_of_five(module: Module) -> None:
    two = np.array([5.0, 1.0, 2.0, 4.0, 3.0, 0.0, 0.0, 0.0, 0.0, 10.0])
    assert list(module("searches").expected_order(two)) == [0.5, 1.0, 1.5, 2.0, 7.5]


def test_more_runs_lose_less_and_cost_more(module: Module, judged: Callable[..., Any]) -> None:
    rows = pd.DataFrame(map(vars, module("searches").searched([judged()])))
    means = rows[~rows.way.str.startswith("Optuna")].groupby(["way", "cost"]).regret.mean()
    for way in ("random search", "quasi-random search"):
        two, four, eight = (means[f"{way}, {runs} runs", float(runs)] for runs in (2, 4, 8))
        assert two > four > eight > 0
    assert means["quasi-random search, 4 runs", 4.0] < means["random search, 4 runs", 4.0]


def test_optuna_learns_from_its_runs(module: Module, judged: Callable[..., Any]) -> None:
    pytest.importorskip("optuna")
    max_lrs, seen = module("searches").tpe(judged())
    assert max_lrs.shape == seen.shape == (40, 8)
    assert seen[:, 4:].mean() > seen[:, :2].mean()


def test_a_grid_of_short_cycles_takes_the_least_loss_and_halving_trains_the_best_three_again(
    module: Module, judged: Callable[..., Any]
) -> None:
    task = judged()
    grid = list(task.task.grid)
    losses = {0.0417: [9, 8, 1.0, 2.0, 3.0, 7, 8, 9, np.nan], 0.0833: [0.5, 9, 3.0, 2.0, 2.5, 9, 9, 9, np.nan]}
    rows = [
        {"task": SGD, "seed": 100, "share": share, "max_lr": lr, "steps": steps, "valid_loss": loss}
        for (share, of_share), steps in zip(losses.items(), (2, 4), strict=True)
        for lr, loss in zip(grid, of_share, strict=True)
    ]
    first, second, halving = module("searches").short_grids([task], pd.DataFrame(rows))
    assert (first.way, first.max_lr) == ("grid of 9 cycles of 1/24 of a run", grid[2])
    assert (second.way, second.max_lr) == ("grid of 9 cycles of 1/12 of a run", grid[0])
    # By hand, in runs of 50 steps: 9 x 2, 9 x 4, and 9 x 2 + 3 x 4 steps.
    assert [answer.cost for answer in (first, second, halving)] == pytest.approx([0.36, 0.72, 0.6])
    assert halving.max_lr == grid[3]
