"""The error bar of a suggestion: its words, its place in a suggestion, and runs that have none."""

import math

import numpy as np

from onecycle_cli.analysis.lr_range import Curve, CyclePlan, ErrorBar, Suggestion, suggest, told_max_lr
from onecycle_cli.analysis.lr_range.error_bar import error_bar

LRS = np.geomspace(1e-5, 100, 141)
BAR = ErrorBar(0.24, 0.96, 0.08, 0.4)


def trough(noise_level: float = 0.1, end: float = 4.0) -> list[float]:
    losses = np.where((LRS >= 0.01) & (LRS <= 1), 1.3, np.where(LRS > 1, end, 2.3))
    return list(losses + np.random.default_rng(0).normal(0, noise_level, len(LRS)))


def read(*tests: list[float]) -> Suggestion:
    return suggest([Curve(LRS.tolist(), losses) for losses in tests], CyclePlan("sgd", 10))


def test_a_lower_confidence_has_larger_numbers() -> None:
    high, medium, low = (error_bar(1.0, word) for word in ("high", "medium", "low"))
    for better, worse in ((high, medium), (medium, low)):
        assert better.expected_points_lost < worse.expected_points_lost
        assert better.points_lost_90 < worse.points_lost_90
        assert worse.lowest_max_lr < better.lowest_max_lr < 1 < better.highest_max_lr < worse.highest_max_lr


def test_a_bar_is_told_in_points_of_accuracy() -> None:
    assert BAR.told == "0.2 points on average, at most 1.0 with 90 % probability"
    told = (
        "max_lr 0.2, confidence high, accuracy lost 0.2 points on average, at most 1.0 with 90 % probability. Because."
    )
    assert told_max_lr(0.2, "high", BAR, "Because.") == told
    assert told_max_lr(0.2, "low", None, "Because.") == "max_lr 0.2, confidence low. Because."


def test_a_suggestion_has_its_bar_in_four_numbers_around_max_lr() -> None:
    found = read(trough())
    assert 0 <= found.expected_points_lost <= found.points_lost_90
    assert found.lowest_max_lr <= found.max_lr <= found.highest_max_lr
    bar = (found.expected_points_lost, found.points_lost_90, found.lowest_max_lr, found.highest_max_lr)
    assert found.error_bar == ErrorBar(*bar)


def test_without_a_suggestion_there_is_no_bar() -> None:
    found = suggest([Curve([0.1], [math.nan])], CyclePlan("sgd", 10))
    assert found.error_bar is None
    assert found.points_lost_90 is None


def test_the_bar_is_that_of_the_confidence() -> None:
    for found, word in ((read(trough()), "high"), (read(trough(0.3)), "medium"), (read(trough(0.6)), "low")):
        assert found.confidence == word
        assert found.points_lost_90 == error_bar(1.0, word).points_lost_90


def test_the_values_of_an_older_version_have_no_bar() -> None:
    assert ErrorBar.of({"max_lr": 0.2, "confidence": "high"}) is None
    assert ErrorBar.of(vars(BAR) | {"points_lost_90": None}) is None
    assert ErrorBar.of(vars(BAR) | {"max_lr": 0.2}) == BAR
