"""What is measured on the curves, against values worked out by hand."""

import math
from collections.abc import Callable

import pytest

from onecycle_cli.analysis.diagnosis import TrainingRun
from onecycle_cli.analysis.diagnosis.curves import (
    falls_always,
    gap_is_sure,
    level_reached,
    longest_stall,
    standard_error,
    underfits,
)

Run = Callable[..., TrainingRun]


def test_a_stall_is_the_longest_way_without_a_lower_train_loss_near_the_peak(run_of: Run) -> None:
    run = run_of([2.0, 1.5, 1.0, 1.2, 1.1, 1.0, 0.9, 0.5], [1.0] * 8)
    assert [epoch.epoch for epoch in run.near_peak()] == [2, 3, 4, 5, 6]
    first, last = longest_stall(run)
    assert (first.epoch, last.epoch) == (3, 6)
    assert longest_stall(run_of([2.0, 1.5, 1.0, 0.9, 0.8, 0.7, 0.6, 0.5], [1.0] * 8)) is None


def test_a_train_loss_that_is_no_number_has_not_fallen(run_of: Run) -> None:
    first, last = longest_stall(run_of([2.0, 1.5, math.nan, 0.9, 0.8, 0.7, 0.6, 0.5], [1.0] * 8))
    assert (first.epoch, last.epoch) == (3, 6)


def test_a_loss_that_stays_does_not_fall(run_of: Run) -> None:
    assert falls_always(run_of([1.0] * 3, [3.0, 2.0, 1.0]).epochs)
    assert not falls_always(run_of([1.0] * 3, [3.0, 3.0, 1.0]).epochs)


def test_the_level_is_reached_where_the_loss_is_first_within_reach_of_the_last(run_of: Run) -> None:
    run = run_of([1.0] * 4, [3.0, 1.02, 1.5, 1.0])
    assert level_reached(run.epochs, 0.02).epoch == 2
    assert level_reached(run.epochs, 0.01).epoch == 4
    assert level_reached(run_of([1.0] * 2, [1.0, math.nan]).epochs, 0.02).epoch == 2


def test_the_standard_error_is_that_of_a_binomial_share() -> None:
    assert standard_error(0.935, 10_000) == pytest.approx(0.0025, abs=5e-5)  # as the reference has it for E1
    assert standard_error(1.0, 100) == 0


def test_a_gap_of_three_standard_errors_is_sure(run_of: Run) -> None:
    # 0.8 on 400 images: 0.02
    assert gap_is_sure(run_of([1.0], [1.0], accuracies=[(0.861, 0.8)], valid_images=400))
    assert not gap_is_sure(run_of([1.0], [1.0], accuracies=[(0.859, 0.8)], valid_images=400))


def test_underfitting_is_a_train_loss_far_from_zero_with_the_validation_loss_beside_it(run_of: Run) -> None:
    assert underfits(run_of([1.2], [1.3]))
    assert not underfits(run_of([1.2], [1.33]))
    assert underfits(run_of([0.24], [0.2]))
    assert not underfits(run_of([0.22], [0.2]))  # a tenth of log 10 is 0.23


def test_of_smoothed_labels_the_least_train_loss_is_their_entropy(run_of: Run) -> None:
    settings = run_of([1.0], [1.0], label_smoothing=0.2, classes=2).settings
    assert settings.least_train_loss == pytest.approx(-0.9 * math.log(0.9) - 0.1 * math.log(0.1))
    assert settings.unsure_loss == pytest.approx(-math.log(0.9))
    assert run_of([1.0], [1.0]).settings.least_train_loss == 0
    assert not underfits(run_of([0.6], [0.2], label_smoothing=0.1))  # 0.5 of it is the labels' own


def test_the_weight_decay_takes_its_share_of_the_weights_at_the_peak(run_of: Run) -> None:
    settings = run_of([1.0], [1.0], max_lr=0.8, weight_decay=1e-4).settings
    assert settings.shrinkage == pytest.approx(8e-5 / 0.15)
    assert settings.fitting_shrinkage == pytest.approx(1.1e-5 / 0.15)
    high = run_of([1.0], [1.0], gain=100.0, suggested_max_lr=0.3, weight_decay=1e-4).settings
    assert high.fitting_shrinkage == pytest.approx(3e-5 / 0.15)  # a momentum of 0.99 is not the decay's doing
    assert run_of([1.0], [1.0], gain=1.0, usual_max_lr=0.01).settings.fitting_shrinkage == pytest.approx(5e-6)
