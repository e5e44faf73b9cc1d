"""What is suggested for curves with a known answer, and when no number is given."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from onecycle_cli.analysis.lr_range import Curve, CyclePlan, Suggestion, suggest
from onecycle_cli.analysis.lr_range.basin import basin_of
from onecycle_cli.analysis.lr_range.curve import significant
from onecycle_cli.analysis.lr_range.suggestion import (
    HALF_SIGNAL,
    LENGTH_EXPONENT,
    SHARES,
    TYPICAL,
    TYPICAL_PACE,
    weighed,
)

Losses = Sequence[float] | NDArray[np.float64]

LRS = np.geomspace(1e-5, 100, 141)
AT = np.log10(LRS)
PLAN = CyclePlan("sgd", div_factor=10)
MIDDLE = SHARES["sgd"] * 0.1 * math.sqrt(8.75 / TYPICAL_PACE)
"""What a trough from 0.01 to 1 gives: lr grows by e in 140 / ln(1e7) = 8.7 steps, counted by hand."""


def seed_like(noise_level: float = 0.0, seed: int = 0) -> np.ndarray:
    """Like the seed experiment's: flat at 2.3, falls around lr 0.1, least at lr 5.2, takes off between 6 and 8."""
    losses = 2.3 - 1 / (1 + np.exp(-4 * (AT + 1))) + 30 * np.maximum(0, AT - math.log10(5.2)) ** 2
    return losses + np.random.default_rng(seed).normal(0, noise_level, len(LRS))


def trough(left: float, right: float, noise_level: float = 0.0, seed: int = 0) -> np.ndarray:
    losses = np.where((left <= LRS) & (right >= LRS), 1.3, np.where(right < LRS, 4.0, 2.3))
    return losses + np.random.default_rng(seed).normal(0, noise_level, len(LRS))


def read(*losses: Losses, plan: CyclePlan = PLAN) -> Suggestion:
    return suggest([Curve(LRS[: len(one)].tolist(), list(one)) for one in losses], plan)


def test_the_seed_experiments_curve_gives_what_the_seed_experiment_used() -> None:
    # 0.8 was taken, and 3 as the aggressive value.
    assert 0.6 <= read(seed_like()).max_lr <= 3


@pytest.mark.parametrize("seed", range(5))
def test_noise_moves_the_seed_experiments_curve_by_less_than_a_factor_of_1_3(seed: int) -> None:
    assert read(seed_like(0.1, seed)).max_lr == pytest.approx(read(seed_like()).max_lr, rel=0.3)


def test_a_clean_trough_gives_its_middle_with_all_that_belongs_to_it() -> None:
    suggestion = read(trough(0.01, 1))
    assert suggestion.max_lr == pytest.approx(MIDDLE, rel=0.15)
    assert 0.01 < suggestion.conservative_max_lr < 0.06
    assert suggestion.initial_lr == pytest.approx(suggestion.max_lr / 10, rel=0.01)
    assert suggestion.confidence == "high"
    assert suggestion.spread is None
    assert suggestion.rule == "basin"
    for number in ("2.3", "1.3", f"{suggestion.max_lr / 0.0871:.2g} times"):
        assert number in suggestion.reason
    assert suggestion.peers["fastai_minimum"] > 0


@pytest.mark.parametrize("seed", range(5))
def test_a_noisy_trough_gives_nearly_the_same(seed: int) -> None:
    assert read(trough(0.01, 1, 0.2, seed)).max_lr == pytest.approx(MIDDLE, rel=0.25)


@given(scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_scaling_the_loss_moves_nothing_and_shifting_it_moves_the_typical_max_lr_alone(
    scale: float, shift: float
) -> None:
    losses = seed_like(0.02)
    plain, scaled, shifted = read(losses), read(scale * losses), read(losses + shift)
    assert (scaled.max_lr, scaled.typical_max_lr) == (plain.max_lr, plain.typical_max_lr)
    assert shifted.max_lr == pytest.approx(plain.max_lr, rel=0.02)
    assert scaled.confidence == shifted.confidence == plain.confidence


def test_negative_losses_are_read_as_any_other() -> None:
    assert read(seed_like() - 10).max_lr == pytest.approx(read(seed_like()).max_lr, rel=0.02)


@given(factor=st.floats(0.01, 100))
def test_a_curve_at_other_lrs_gives_the_same_place_on_it(factor: float) -> None:
    moved = suggest([Curve((factor * LRS).tolist(), seed_like().tolist())], PLAN)
    assert moved.max_lr == pytest.approx(factor * read(seed_like()).max_lr, rel=0.01)


def test_a_nan_in_the_middle_ends_the_curve_there() -> None:
    whole = trough(0.01, 1)
    broken = whole.copy()
    broken[LRS > 1] = [math.nan, *whole[LRS > 1][1:]]
    assert read(broken).max_lr == pytest.approx(MIDDLE, rel=0.15)
    assert read(broken).max_lr == read([*whole[LRS <= 1], math.inf]).max_lr
    assert "explosion" in read(broken).reason


def test_each_optimizer_has_a_share_of_its_own() -> None:
    losses = trough(0.01, 1)
    adamw = read(losses, plan=CyclePlan("adamw", div_factor=25))
    assert adamw.max_lr == pytest.approx(read(losses).max_lr * SHARES["adamw"] / SHARES["sgd"], rel=0.01)
    assert adamw.initial_lr == pytest.approx(adamw.max_lr / 25, rel=0.01)


def test_a_longer_run_has_a_lower_peak() -> None:
    losses = trough(0.01, 1)
    unknown, short, long = (read(losses, plan=CyclePlan("sgd", 10, steps)).max_lr for steps in (None, 200, 20_000))
    assert unknown == short
    assert long == pytest.approx(short * 100**-LENGTH_EXPONENT, rel=0.01)
    assert read(losses, plan=CyclePlan("sgd", 10, 99)).confidence == "low"
    assert "only 99 steps" in read(losses, plan=CyclePlan("sgd", 10, 99)).reason


def falling_by_distance(steps: int) -> Curve:
    """A test whose loss falls with the sum of its lrs, and rises at lr 1.5, however long it takes."""
    lrs = np.geomspace(3e-4, 10, steps)
    fallen = 1 / (1 + (0.15 / np.cumsum(lrs)) ** 2)
    risen = 1 / (1 + (1.5 / lrs) ** 6)
    return Curve(lrs.tolist(), (2.3 - 1.5 * fallen + 4 * risen).tolist())


def test_the_length_of_the_test_moves_the_suggestion_by_less_than_a_factor_of_1_5() -> None:
    max_lrs = [suggest([falling_by_distance(steps)], PLAN).max_lr for steps in (40, 100, 200, 400, 1_000)]
    assert max(max_lrs) / min(max_lrs) < 1.5


def test_a_faint_curve_weighs_less_than_what_is_typical_and_a_clear_one_more() -> None:
    # By hand: weights 1 and 1, 4 and 1, in the logarithm.
    assert weighed(0.01, signal=HALF_SIGNAL, typical=1.0) == pytest.approx(0.1)
    assert weighed(0.01, signal=2 * HALF_SIGNAL, typical=1.0) == pytest.approx(0.01**0.8)
    assert weighed(0.01, signal=math.inf, typical=1.0) == pytest.approx(0.01)
    faint, clear = read(trough(1e-4, 1e-2, 0.5)), read(trough(1e-4, 1e-2, 0.01))
    # Its loss explodes at lr 0.01, so the typical max_lr is low, too.
    assert faint.typical_max_lr == pytest.approx(TYPICAL["sgd"] * (0.01 / 5) ** 0.5, rel=0.3)
    assert clear.max_lr < faint.max_lr < faint.typical_max_lr


def without_fall(explodes: float) -> np.ndarray:
    """The noise of small batches, then an explosion from this lr on."""
    noisy = np.random.default_rng(3).normal(2.3, 0.1, len(LRS))
    return np.where(explodes <= LRS, 20.0, noisy)


def test_a_refusal_tells_the_typical_max_lr_of_a_loss_that_explodes_there() -> None:
    at_5, at_a_twentieth = read(without_fall(5.0)), read(without_fall(0.05))
    assert at_5.max_lr is None
    assert at_5.typical_max_lr == pytest.approx(TYPICAL["sgd"], rel=0.2)
    # By hand: a hundredth of the lr, a tenth of the typical max_lr.
    assert at_a_twentieth.typical_max_lr == pytest.approx(at_5.typical_max_lr / 10, rel=0.1)
    assert f"Until then, {at_5.typical_max_lr:g} is a guess" in at_5.refusal
    long = CyclePlan("adamw", 10, 20_000)
    assert read(without_fall(5.0), plan=long).typical_max_lr == pytest.approx(
        TYPICAL["adamw"] * 100**-LENGTH_EXPONENT, rel=0.2
    )


@pytest.mark.parametrize("losses", [np.full(141, 2.3), [math.nan], np.full(141, -2.3)])
def test_a_loss_that_does_not_explode_gives_no_guess(losses: Losses) -> None:
    assert read(losses).typical_max_lr is None
    assert read(losses).refusal == read(losses).reason


def test_a_loss_that_becomes_infinite_explodes_there() -> None:
    losses = np.random.default_rng(3).normal(2.3, 0.1, 100)
    assert read([*losses, math.inf]).typical_max_lr == read([*losses, math.nan]).typical_max_lr
    assert read([*losses, math.inf]).typical_max_lr == pytest.approx(TYPICAL["sgd"] * (LRS[99] / 5) ** 0.5, rel=0.01)


def test_several_tests_are_read_as_their_median_and_tell_their_spread() -> None:
    alike = read(*(trough(0.01, 1, 0.1, seed) for seed in range(3)))
    assert alike.max_lr == pytest.approx(MIDDLE, rel=0.15)
    assert 1 <= alike.spread < 1.3
    apart = read(trough(0.01, 1), trough(0.01, 1), trough(0.1, 10))
    assert apart.max_lr == read(trough(0.01, 1)).max_lr
    assert apart.spread == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize("useless", [np.zeros(141), np.linspace(2, 3, 141), np.array([2.3, 2.2, math.inf])])
def test_a_single_test_that_cannot_be_read_is_told_and_left_out_of_the_spread(useless: np.ndarray) -> None:
    suggestion = read(trough(0.01, 1), trough(0.01, 1), useless)
    assert suggestion.max_lr == pytest.approx(MIDDLE, rel=0.15)
    assert suggestion.spread == 1
    assert suggestion.confidence == "medium"
    assert "1 of the single tests gave no max_lr" in suggestion.reason


@pytest.mark.parametrize("seed", range(20))
def test_the_conservative_max_lr_is_never_above_the_other(seed: int) -> None:
    draw = np.random.default_rng(seed)
    hump, other = trough(*sorted(10 ** draw.uniform(-4, -1.5, 2))), trough(*sorted(10 ** draw.uniform(-1.5, 1, 2)))
    suggestion = read(np.minimum(hump + draw.uniform(0, 0.9), other))
    if suggestion.max_lr is not None:
        assert suggestion.conservative_max_lr <= suggestion.max_lr


def test_a_linear_test_can_be_read() -> None:
    linear = np.linspace(3e-4, 10, 100)
    losses = 2.3 * (linear < 0.15) + np.where(linear < 2, 1.0, 4.0) * (linear >= 0.15)
    assert 0.1 < suggest([Curve(linear.tolist(), losses.tolist())], PLAN).max_lr < 2


@pytest.mark.parametrize(
    ("losses", "says"),
    [
        (2.3 + 0.01 * np.arange(141), "never fell"),
        (np.full(141, 2.3), "never fell"),
        (np.random.default_rng(3).normal(2.3, 0.1, 141), "never fell"),
        (np.linspace(2.3, 1.0, 141), "never rose"),
        (np.where(LRS < 2e-5, 1.0, 2.0), "in the first steps"),
        ([math.nan] * 5, "not finite at the first step"),
        ([2.3, 2.2, 2.4, math.inf], "after 3 steps, too few"),
        (np.minimum(trough(1e-4, 1e-3), trough(0.1, 1)), "two basins"),
    ],
    ids=["rising at once", "flat", "noise alone", "never rising", "least at once", "broken", "short", "two basins"],
)
def test_where_no_number_can_be_trusted_the_reason_is_told(losses: Sequence[float], says: str) -> None:
    suggestion = read(losses)
    numbers = (suggestion.max_lr, suggestion.conservative_max_lr, suggestion.initial_lr, suggestion.confidence)
    assert numbers == (None, None, None, None)
    assert says in suggestion.reason


@pytest.mark.parametrize("steps", [40, 100, pytest.param(400, marks=pytest.mark.slow)])
def test_noise_alone_gives_a_number_three_times_in_a_hundred_at_most_and_low_confidence(steps: int) -> None:
    lrs = np.geomspace(3e-4, 10, steps)
    draw = np.random.default_rng(0)
    curves = [Curve(lrs.tolist(), draw.normal(2.3, 0.1, steps).tolist()) for _ in range(200)]
    answered = [one for one in (suggest([curve], PLAN) for curve in curves) if one.max_lr is not None]
    assert len(answered) <= 6
    assert {one.confidence for one in answered} <= {"low"}


@given(number=st.floats(1e-9, 1e9))
def test_three_digits_are_kept(number: float) -> None:
    assert significant(number) == pytest.approx(number, rel=0.006)


def test_the_middle_that_the_reason_names_is_the_basins() -> None:
    losses = seed_like()
    assert f"{basin_of(LRS, losses, diverged=False).middle:.3g}" in read(losses).reason
