from collections.abc import Callable
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

Module = Callable[[str], ModuleType]
TASK = "mnist-2000-resnet8-128"


@pytest.fixture
def grid() -> pd.DataFrame:
    """Two weight decays at three max_lrs, two seeds: the lower one is better by 0.1, and best at 0.25."""
    cells = [(1e-2, 0.025, 0.5), (1e-2, 0.25, 0.8), (1e-2, 2.5, 0.2), (1e-4, 0.025, 0.6), (1e-4, 0.25, 0.9)]
    cells.append((1e-4, 2.5, 0.3))
    rows = pd.DataFrame(cells * 2, columns=["weight_decay", "max_lr", "valid_accuracy"])
    return rows.assign(task=TASK, seed=np.repeat([0, 1], 6), steps=200)


@pytest.fixture
def curves() -> pd.DataFrame:
    """Range tests whose basin ends at lr 1, or at a tenth of that with the larger weight decay."""
    lrs = np.geomspace(3e-4, 10, 100)
    tests = []
    for weight_decay, reach in ((1e-2, 0.1), (1e-4, 1.0)):
        for seed in (100, 101, 102):
            losses = 2.3 - 1.5 / (1 + (0.02 / lrs) ** 2) + 20 / reach * np.clip(lrs - reach, 0, None)
            test = {"task": TASK, "weight_decay": weight_decay, "seed": seed, "lr": lrs}
            noise = 0.01 * np.random.default_rng(seed).standard_normal(100)
            tests.append(pd.DataFrame(test | {"train_loss": losses + noise}))
    return pd.concat(tests)


def swept(module: Module, grid: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """The scores of sweep-wd itself."""
    scores = module("sweep_wd").decay_scores(grid, curves)
    return scores[scores.way.str.contains("sweep-wd")]


def test_the_regret_is_that_of_the_chosen_pair(module: Module, grid: pd.DataFrame, curves: pd.DataFrame) -> None:
    scores = swept(module, grid, curves)
    assert list(scores.repeats) == [1, 1, 1, 3]
    assert set(scores.weight_decay) == {1e-4}
    # By hand: between 0.025 and 0.25 accuracy rises by 0.3 a decade, then it falls by 0.6 a decade.
    away = np.log10(scores.max_lr / 0.25)
    assert list(scores.regret) == pytest.approx(list(np.where(away < 0, -0.3 * away, 0.6 * away)), abs=1e-6)


def test_a_task_with_missing_cycles_or_tests_is_not_scored(
    module: Module, grid: pd.DataFrame, curves: pd.DataFrame
) -> None:
    decay_scores = module("sweep_wd").decay_scores
    assert decay_scores(grid[1:], curves).empty
    assert decay_scores(grid, curves[curves.weight_decay == 1e-2]).empty
    without = curves[(curves.seed != 101) | (curves.weight_decay != 1e-2)]
    assert list(swept(module, grid, without).seeds) == ["100", "102"]
    assert module("sweep_wd").decay_table(decay_scores(grid[1:], curves)) == module("score_tables").NOTHING


def test_momentum_amplifies_the_decay_of_sgd_alone(module: Module) -> None:
    gain, tasks = module("sweep_wd").gain_of, module("tasks").TASKS
    assert gain(tasks[TASK]) == pytest.approx(1 / 0.15)
    assert gain(tasks["cifar10-5000-resnet8-128-constant"]) == pytest.approx(10)
    assert gain(tasks["cifar10-5000-resnet8-128-adamw"]) == 1


def test_beyond_the_short_grid_of_max_lr_its_end_counts(
    module: Module, grid: pd.DataFrame, curves: pd.DataFrame
) -> None:
    """The suggestions are near 0.1, and the grid starts at 0.25."""
    scores = swept(module, grid[grid.max_lr > 0.1], curves)
    assert (scores.max_lr < 0.25).all()
    assert list(scores.regret) == pytest.approx([0.0] * 4)


def test_a_constant_is_read_at_the_nearest_weight_decay_and_interpolated_between_them(
    module: Module, grid: pd.DataFrame, curves: pd.DataFrame
) -> None:
    scores = module("sweep_wd").decay_scores(grid, curves).set_index("way")
    low, between = scores.loc["always 0.0001, `find-lr`"], scores.loc["always 0.001, `find-lr`"]
    assert list(low.cost) == [0.5] * 3
    assert (low.regret < 0.12).all()
    # Half way between the two in the logarithm: half of the tenth that the higher one costs at any max_lr.
    max_lr = between.max_lr.iloc[0]
    at_both = [
        module("sweep_wd")._accuracy(module("truth").truth_of(grid[grid.weight_decay == wd]), max_lr)
        for wd in (1e-2, 1e-4)
    ]
    assert between.regret.iloc[0] == pytest.approx(0.9 - sum(at_both) / 2)


def test_a_random_search_has_as_many_runs_as_the_range_tests_cost(
    module: Module, grid: pd.DataFrame, curves: pd.DataFrame
) -> None:
    def found(steps: int) -> pd.DataFrame:
        scores = module("sweep_wd").decay_scores(grid.assign(steps=steps), curves)
        return scores[scores.way == "random search"]

    assert set(found(200).cost) == {1}
    assert set(found(20).cost) == {10}
    assert found(20).regret.mean() < found(200).regret.mean()
    assert set(zip(found(200).weight_decay, found(200).max_lr.round(3), strict=True)) == set(
        zip(grid.weight_decay, grid.max_lr, strict=True)
    )


def test_a_constant_near_the_larger_weight_decay_takes_its_range_test(
    module: Module, grid: pd.DataFrame, curves: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module("sweep_wd"), "CONSTANTS", (2e-4, 5e-3))
    scores = module("sweep_wd").decay_scores(grid, curves).set_index("way").max_lr
    # The larger weight decay explodes at a tenth of the lr.
    assert scores["always 0.005, `find-lr`"].max() < 0.8 * scores["always 0.0002, `find-lr`"].min()
