"""Rules on how a run ends, each on curves made for it."""

import math
from collections.abc import Callable

import pytest

from onecycle_cli.analysis.diagnosis import Place, Statement, TrainingRun
from onecycle_cli.analysis.diagnosis.endings import cycle_too_long, overfitting, underfitting

Run = Callable[..., TrainingRun]
LEARNING = [2.0, 1.6, 1.3, 1.0, 0.8, 0.6, 0.5, 0.4, 0.3, 0.2]
STAYING = [2.0, 1.7, 1.5, 1.3, 1.3, 1.4, 1.3, 1.3, 1.3, 1.3]
FALLING = [2.0, 1.7, 1.5, 1.4, 1.3, 1.2, 1.1, 1.0, 0.9, 0.8]


def test_a_validation_loss_that_stays_while_the_train_loss_falls_is_overfitting(run_of: Run) -> None:
    found = overfitting(run_of(LEARNING, STAYING))
    assert (found.rule, found.place) == ("overfitting", Place("epoch", 4, 10))
    assert (found.evidence["since_train_loss"], found.evidence["train_loss"]) == (1.0, 0.2)
    assert overfitting(run_of(LEARNING, FALLING)) is None  # a gap alone is none: good runs have it
    assert overfitting(run_of(STAYING, STAYING)) is None


def test_where_the_train_loss_stays_too_nothing_was_learned_that_could_be_too_much(run_of: Run) -> None:
    stopped = [2.0, 1.6, 1.3, *[0.5] * 7]
    assert overfitting(run_of(stopped, STAYING)) is None
    turned = [2.0, 1.7, 1.5, 1.3, 1.3, 1.5, 1.5, 1.6, 1.7, 1.8]
    assert overfitting(run_of(LEARNING, turned)).rule == "overfitting"
    assert overfitting(run_of(stopped, turned, planned=20, status="running")) is None


def test_a_gap_within_the_noise_of_few_validation_images_is_none(run_of: Run) -> None:
    assert overfitting(run_of(LEARNING, STAYING, valid_images=10)) is None


def test_while_a_run_goes_on_the_validation_loss_has_to_turn_up(run_of: Run) -> None:
    assert overfitting(run_of(LEARNING, STAYING, planned=20, status="running")) is None
    turned = [2.0, 1.7, 1.5, 1.3, 1.3, 1.5, 1.5, 1.6, 1.7, 1.8]
    found = overfitting(run_of(LEARNING, turned, planned=20, status="running"))
    assert (found.rule, found.place) == ("overfitting", Place("epoch", 4, 10))
    assert "from 1.3 in epoch 4 to 1.8, and was at least 1.5 in the last 5 epochs" in found.text
    jumps = [2.0, 1.7, 1.5, 1.3, 1.3, 1.5, 1.5, 1.3, 1.7, 9.0]
    assert overfitting(run_of(LEARNING, jumps, planned=20, status="running")) is None
    assert overfitting(run_of(LEARNING, turned, planned=30, status="running")) is None  # a fifth of them is 6


def test_a_validation_loss_that_is_nan_has_not_turned_up_and_an_infinite_one_has(run_of: Run) -> None:
    def turned(first: float, last: float) -> list[float]:
        return [first, 1.7, 1.5, 1.3, 1.3, 1.5, 1.5, 1.6, 1.7, last]

    def found(losses: list[float]) -> Statement | None:
        accuracies = [(0.9, 0.5)] * 10
        return overfitting(run_of(LEARNING, losses, accuracies=accuracies, planned=20, status="running"))

    assert found(turned(2.0, math.nan)) is None
    assert "to a value that is not finite, and was at least 1.5" in found(turned(2.0, math.inf)).text
    assert found(turned(math.nan, 1.8)).place == Place("epoch", 4, 10)


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        ({"max_lr": 0.02}, "A large lr regularizes."),
        ({"augmented": False}, "Augment: "),
        ({"weight_decay": 0.0}, "--weight-decay 4e-04"),
        ({}, "train for 4 epochs"),
    ],
)
def test_the_advice_against_overfitting_is_what_is_missing(run_of: Run, settings: dict, advice: str) -> None:
    assert advice in overfitting(run_of(LEARNING, STAYING, **settings)).advice


def test_images_known_by_heart_for_most_of_the_run_are_overfitting_where_it_costs(run_of: Run) -> None:
    losses = [1.0, 0.3, *[0.01] * 8], [2.0, *[0.6 - 0.03 * epoch for epoch in range(9)]]
    costs, free = [(0.5, 0.4), *[(0.999, 0.85)] * 9], [(0.5, 0.4), *[(0.999, 0.99)] * 9]
    assert overfitting(run_of(*losses, accuracies=costs)).place == Place("epoch", 2, 10)
    assert cycle_too_long(run_of(*losses, accuracies=costs)) is None
    assert overfitting(run_of(*losses, accuracies=free)) is None
    found = cycle_too_long(run_of(*losses, accuracies=free))
    assert (found.rule, found.advice) == ("cycle-too-long", "Train for fewer epochs, such as --epochs 2.")
    late = [*[(0.9, 0.9)] * 6, *[(0.999, 0.99)] * 4]
    assert cycle_too_long(run_of(*losses, accuracies=late)) is None


def test_losses_that_end_together_far_from_zero_are_underfitting(run_of: Run) -> None:
    found = underfitting(run_of([2.0, 1.2], [2.0, 1.2]))
    assert (found.rule, found.place) == ("underfitting", Place("epoch", 2, 2))
    assert "--epochs 4" in found.advice
    assert underfitting(run_of([2.0, 1.2], [2.0, 1.2], planned=3)) is None  # the run goes on
    assert underfitting(run_of([2.0, 0.1], [2.0, 0.1])) is None
