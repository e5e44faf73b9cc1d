from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

Module = Callable[[str], ModuleType]
RESULTS = Path(__file__).parents[3] / "benchmarks" / "results" / "suggestion"


def test_a_truth_is_smoothed_over_its_neighbours_but_not_over_a_cliff(module: Module) -> None:
    runs = pd.DataFrame({"max_lr": [0.1, 0.2, 0.4, 0.8], "valid_accuracy": [0.705, 0.72, 0.71, 0.1]})
    truth = module("truth").truth_of(pd.concat([runs, runs]))
    # By hand: (2 x 0.705 + 0.72) / 3, (0.705 + 2 x 0.72 + 0.71) / 4, (0.72 + 2 x 0.71) / 3, and the cliff alone.
    assert truth.smoothed == pytest.approx([0.71, 0.71375, 2.14 / 3, 0.1])
    assert truth.best_lr == pytest.approx(0.2)
    assert truth.regret(0.2) == pytest.approx(0)
    assert truth.regret(0.8) == pytest.approx(0.61375)
    assert truth.regret(0.4 * 2**0.5) == pytest.approx(0.71375 - (2.14 / 3 + 0.1) / 2)
    assert truth.error == truth.noise == 0


def test_a_tail_is_interpolated_towards_but_not_smoothed(module: Module) -> None:
    grid = pd.DataFrame({"max_lr": [0.1, 0.2], "valid_accuracy": [0.5, 0.5]})
    tail = pd.DataFrame({"max_lr": [0.01], "valid_accuracy": [0.49]})
    truth = module("truth").truth_of(pd.concat([grid, grid, grid, tail, tail]))
    assert truth.smoothed == pytest.approx([0.49, 0.5, 0.5])
    assert truth.regret(10**-1.5) == pytest.approx(0.005)


def test_beyond_the_measured_values_a_network_learns_nothing(module: Module) -> None:
    """As little as in the worst run of the truth."""
    runs = pd.DataFrame({"max_lr": [0.1, 0.2, 0.1, 0.2, 2.0], "valid_accuracy": [0.6, 0.6, 0.6, 0.6, 0.25]})
    truth = module("truth").truth_of(runs)
    assert truth.chance == 0.25
    assert truth.regret(0.1) == pytest.approx(0)
    assert truth.regret(0.099) == truth.regret(1e-7) == truth.regret(2.1) == pytest.approx(0.35)
    assert truth.accuracy([0.05, 0.1, 2.0, 20.0]) == pytest.approx([0.25, 0.6, 0.25, 0.25])


def test_the_error_of_a_truth_is_that_of_a_mean_on_its_plateau(module: Module) -> None:
    runs = pd.DataFrame({"max_lr": [0.1] * 2 + [0.2] * 4 + [0.4] * 2})
    runs["valid_accuracy"] = [0.80, 0.82, 0.79, 0.81, 0.79, 0.81, 0.1, 0.5]
    truth = module("truth").truth_of(runs)
    # By hand, without the cliff: variances 2e-4 and 4e-4 / 3 of a run, 1e-4 and 1e-4 / 3 of a mean.
    assert truth.noise == pytest.approx(((2e-4 + 4e-4 / 3) / 2) ** 0.5)
    assert truth.error == pytest.approx(((1e-4 + 1e-4 / 3) / 2) ** 0.5)


def test_a_truth_is_whole_with_three_seeds_at_each_max_lr_of_the_grid(module: Module) -> None:
    is_whole = module("truth").is_whole
    runs = pd.DataFrame({"max_lr": [0.1, 0.2] * 3 + [0.01] * 2})
    assert is_whole(runs, (0.1, 0.2))
    assert not is_whole(runs, (0.1, 0.2, 0.4))
    assert not is_whole(runs[1:], (0.1, 0.2))
