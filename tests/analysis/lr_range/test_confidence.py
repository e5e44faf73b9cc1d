"""How sure a suggestion is: less where the curve says less."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from onecycle_cli.analysis.lr_range import Curve, CyclePlan, Suggestion, suggest

Losses = Sequence[float] | NDArray[np.float64]

LRS = np.geomspace(1e-5, 100, 141)


def trough(left: float, right: float, noise_level: float = 0.0) -> np.ndarray:
    losses = np.where((left <= LRS) & (right >= LRS), 1.3, np.where(right < LRS, 4.0, 2.3))
    return losses + np.random.default_rng(0).normal(0, noise_level, len(LRS))


def read(*losses: Losses) -> Suggestion:
    return suggest([Curve(LRS[: len(one)].tolist(), list(one)) for one in losses], CyclePlan("sgd", 10))


@pytest.mark.parametrize(
    ("losses", "confidence", "says"),
    [
        (trough(0.01, 1, 0.1), "high", "and lost at"),
        (trough(0.01, 1, 0.3), "medium", "times its standard error"),
        (trough(0.01, 1, 0.5), "low", "times its standard error"),
        (trough(2e-5, 1), "low", "falls from the first steps on"),
        (2.3 + 5 * np.exp(-np.arange(141) / 8), "low", "falls from the first steps on"),
        (np.where(LRS > 1, 1.6, trough(0.01, 1)), "low", "rose by only 30% of its fall at the end"),
        ([*np.linspace(2.3, 1, 80), math.nan], "medium", "still at its least when it suddenly became infinite or NaN"),
    ],
    ids=["clear", "noisy", "very noisy", "falling at once", "a transient at the start", "cut short", "ends falling"],
)
def test_confidence_is_less_where_the_curve_says_less(losses: Losses, confidence: str, says: str) -> None:
    if "first" in says and len(losses) == 141 and losses[0] > 7:
        losses = np.where(LRS > 1, 9.0, losses)  # an explosion, so that there is something to read
    suggestion = read(losses)
    assert suggestion.confidence == confidence
    assert says in suggestion.reason


def test_tests_that_lie_far_apart_leave_no_high_confidence() -> None:
    apart = read(trough(0.01, 1), trough(0.01, 1), trough(0.1, 10))
    assert apart.confidence == "medium"
    assert "differ widely" in apart.reason
