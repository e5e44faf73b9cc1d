"""The basin of curves whose middle and edges are known."""

from typing import Any

import numpy as np
import pytest

from onecycle_cli.analysis.lr_range.basin import Turn, basin_of, has_risen, shape_of, smooth, turn_of
from onecycle_cli.analysis.lr_range.curve import Curve

LRS = np.geomspace(1e-4, 10, 101)


def trough(left: float, right: float, *, level: float = 2.0, depth: float = 1.0) -> np.ndarray:
    """`level` but from `left` to `right`, where it is lower by `depth`."""
    return np.where((left <= LRS) & (right >= LRS), level - depth, level)


def test_the_middle_of_a_symmetric_trough_is_its_geometric_mean() -> None:
    basin = basin_of(LRS, trough(0.01, 1), diverged=False)
    assert basin.middle == pytest.approx(0.1, rel=0.01)
    assert basin.quantile(0.5) == pytest.approx(0.1, rel=0.05)
    assert basin.edges == pytest.approx((0.01, 1), rel=0.15)
    assert basin.start_loss == 2
    assert basin.fall == pytest.approx(1, rel=1e-3)
    assert basin.rose


def test_the_deeper_part_of_a_basin_counts_more() -> None:
    losses = np.minimum(trough(0.01, 0.1, depth=0.5), trough(0.1, 1))
    assert 0.15 < basin_of(LRS, losses, diverged=False).middle < 0.32


def test_how_high_an_explosion_goes_moves_nothing() -> None:
    mild, wild = (np.where(LRS > 1, level, trough(0.01, 1)) for level in (3.0, 1e9))
    assert basin_of(LRS, wild, diverged=False).middle == basin_of(LRS, mild, diverged=False).middle


def test_smoothing_looks_both_ways() -> None:
    losses = trough(0.01, 1)
    assert smooth(LRS, losses)[::-1] == pytest.approx(smooth(LRS, losses[::-1]))


def test_a_test_has_risen_when_the_loss_is_half_way_back_or_not_finite() -> None:
    lrs = LRS.tolist()
    assert has_risen(Curve(lrs, trough(0.01, 1).tolist()))
    assert not has_risen(Curve(lrs, trough(0.01, 100).tolist()))
    assert has_risen(Curve(lrs, [*trough(0.01, 100)[:-1].tolist(), np.nan]))


def test_two_troughs_have_a_ridge_between_them_and_one_has_none() -> None:
    two = np.minimum(trough(0.002, 0.02), trough(0.3, 2))
    ridge = basin_of(LRS, two, diverged=False).ridge
    assert ridge is not None
    first, between, second = ridge
    assert 0.002 < first < 0.02 < between < 0.3 < second < 2
    assert basin_of(LRS, trough(0.01, 1), diverged=False).ridge is None


def test_the_turn_is_where_the_loss_is_least_and_where_it_has_taken_off() -> None:
    at = np.log10(LRS)
    losses = np.where(at < 0, 2 - (at + 4) / 4, 1 + 20 * at**2)
    turn = turn_of([Curve(LRS.tolist(), losses.tolist())])
    assert turn is not None
    assert turn.argmin_lr == pytest.approx(1, rel=0.6)
    assert turn.onset_lr is not None
    assert turn.argmin_lr < turn.onset_lr < turn.reach_lr < 3
    assert turn_of([Curve([0.1], [2.0])]) is None
    ten: Any = pytest.approx(10)
    assert turn_of([Curve(LRS.tolist(), np.linspace(2, 1, 101).tolist())]) == Turn(ten, None, ten)


def test_a_shape_holds_the_median_between_the_lowest_and_the_highest() -> None:
    curves = [Curve(LRS.tolist(), (trough(0.01, 1) + shift).tolist()) for shift in (-0.1, 0.0, 0.3)]
    shape = shape_of(curves)
    assert (shape.low < shape.median).all()
    assert (shape.median < shape.high).all()
    assert shape.median == pytest.approx(smooth(LRS, trough(0.01, 1)))
    assert len(shape_of([Curve([0.1], [np.nan])]).lrs) == 0


def test_the_start_is_a_tenth_of_the_way_in_log_lr_and_three_steps_at_least() -> None:
    assert basin_of(LRS, trough(0.01, 1), diverged=False).start_steps == 11
    linear = np.linspace(1e-3, 10, 100)
    assert basin_of(linear, np.where(linear < 5, 1.0, 3.0), diverged=False).start_steps == 3


def test_a_basin_that_ends_in_a_loss_that_is_not_finite_has_risen_and_may_end_falling() -> None:
    fell = np.linspace(2, 1, 101)
    assert basin_of(LRS, fell, diverged=True).rose
    assert basin_of(LRS, fell, diverged=True).ends_falling
    assert not basin_of(LRS, trough(0.01, 1), diverged=True).ends_falling
    assert not basin_of(LRS, fell, diverged=False).ends_falling


def test_the_standard_error_is_what_a_fall_of_noise_alone_varies_by() -> None:
    draw = np.random.default_rng(0)
    falls, errors = [], []
    for _ in range(300):
        basin = basin_of(LRS, draw.normal(2, 0.1, 101), diverged=False)
        falls.append(basin.start_loss - basin.smoothed[60])
        errors.append(basin.standard_error)
    assert np.std(falls) == pytest.approx(np.median(errors), rel=0.3)


@pytest.mark.parametrize("losses", [np.full(101, 2.0), np.linspace(2, 3, 101)])
def test_a_curve_that_never_fell_has_risen_and_is_no_trouble(losses: np.ndarray) -> None:
    curve = Curve(LRS.tolist(), losses.tolist())
    assert np.isfinite(basin_of(LRS, losses, diverged=False).depth).all()
    assert has_risen(curve)
