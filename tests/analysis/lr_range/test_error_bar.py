"""The error bar of a suggestion: its words, its place in a suggestion, and runs that have none."""

import math

import numpy as np
import pytest

from onecycle_cli.analysis.lr_range import Curve, CyclePlan, ErrorBar, Suggestion, suggest, told_max_lr

LRS = np.geomspace(1e-5, 100, 141)
BAR = ErrorBar(0.24, 0.96, 0.08, 0.4)


def trough(noise_level: float = 0.1, end: float = 4.0) -> list[float]:
    losses = np.where((LRS >= 0.01) & (LRS <= 1), 1.3, np.where(LRS > 1, end, 2.3))
    return list(losses + np.random.default_rng(0).normal(0, noise_level, len(LRS)))


def read(*tests: list[float]) -> Suggestion:
    return suggest([Curve(LRS.tolist(), losses) for losses in tests], CyclePlan("sgd", 10))


@pytest.mark.parametrize(("most", "word"), [(0, "high"), (1, "high"), (1.01, "medium"), (2, "medium"), (2.01, "low")])
def test_the_bound_gives_the_word(most: float, word: str) -> None:
    assert ErrorBar(0, most, 0.1, 0.2).confidence == word


def test_a_bar_is_told_in_points_of_accuracy() -> None:
    assert BAR.told == "0.2 points of accuracy, at most 1.0 with 90 % probability"
    told = (
        "max_lr 0.2, confidence high, expected loss 0.2 points of accuracy, at most 1.0 with 90 % probability. Because."
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


def test_the_word_is_the_lower_of_the_bar_and_of_what_the_curve_lacks() -> None:
    assert read(trough()).error_bar.confidence == read(trough()).confidence == "high"
    not_risen = read(trough(end=1.6))
    assert (not_risen.error_bar.confidence, not_risen.confidence) == ("high", "medium")
    doubtful = read(trough(), trough(), list(np.full(len(LRS), 2.3)), list(np.full(len(LRS), 2.3)), trough())
    order = ("low", "medium", "high")
    assert order.index(doubtful.confidence) <= order.index(doubtful.error_bar.confidence)


def test_noise_makes_the_bound_larger() -> None:
    assert read(trough(0.01)).points_lost_90 < read(trough(0.3)).points_lost_90


def test_the_values_of_an_older_version_have_no_bar() -> None:
    assert ErrorBar.of({"max_lr": 0.2, "confidence": "high"}) is None
    assert ErrorBar.of(vars(BAR) | {"points_lost_90": None}) is None
    assert ErrorBar.of(vars(BAR) | {"max_lr": 0.2}) == BAR
