"""A test's end, its noise, and several tests as one."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.analysis.lr_range.curve import Curve, has_diverged, median_curve, noise, smoother


def test_the_moving_average_is_corrected_for_its_start() -> None:
    smooth = smoother(0.5)
    # By hand: averages 1, 2, 2.5 of weights 0.5, 0.75, 0.875.
    assert [smooth(loss) for loss in (2.0, 3.0, 3.0)] == pytest.approx([2.0, 2.0 / 0.75, 2.5 / 0.875])


@given(loss=st.floats(-100, 100), smoothing=st.floats(0, 0.99), steps=st.integers(1, 50))
def test_a_constant_loss_is_its_own_average(loss: float, smoothing: float, steps: int) -> None:
    smooth = smoother(smoothing)
    assert [smooth(loss) for _ in range(steps)] == pytest.approx([loss] * steps, rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(
    ("loss", "smoothed", "diverged"),
    [(1.0, 3.9, False), (1.0, 4.1, True), (math.nan, 1.0, True), (math.inf, 1.0, True), (1.0, math.nan, True)],
)
def test_a_test_ends_at_four_times_the_best_or_where_the_loss_is_not_finite(
    loss: float, smoothed: float, diverged: bool
) -> None:
    assert has_diverged(loss, smoothed, best=1.0, stop_factor=4) is diverged


def test_noise_is_the_spread_of_a_batch_and_an_explosion_hardly_moves_it() -> None:
    losses = np.random.default_rng(0).normal(2.3, 0.1, 2000)
    assert noise(losses) == pytest.approx(0.1, rel=0.1)
    assert noise(np.append(losses, [1e6, 1e9])) == pytest.approx(noise(losses), rel=0.01)


def test_several_tests_become_their_median_step_by_step() -> None:
    lrs = [0.1, 0.2, 0.4]
    together = median_curve([Curve(lrs, [3.0, 1.0, 5.0]), Curve(lrs, [2.0, 2.0, 2.0]), Curve(lrs, [1.0, 9.0, 3.0])])
    assert [column.tolist() for column in together[:2]] == [lrs, [2.0, 2.0, 3.0]]
    assert not together[2]


def test_a_test_that_ended_early_or_was_not_finite_counts_as_infinite_from_there_on() -> None:
    lrs = [0.1, 0.2, 0.4]
    early, broken, whole = (
        Curve(lrs[:1], [2.0]),
        Curve(lrs, [2.0, math.nan, 1.0]),
        Curve(lrs, [2.0, 1.0, 1.5]),
    )
    _, losses, diverged = median_curve([early, broken, whole])
    assert losses.tolist() == [2.0]
    assert diverged
    _, losses, diverged = median_curve([early, whole, whole])
    assert losses.tolist() == [2.0, 1.0, 1.5]
    assert not diverged
    # What came after a loss that was not finite is no part of the test.
    assert median_curve([broken])[1].tolist() == [2.0]
