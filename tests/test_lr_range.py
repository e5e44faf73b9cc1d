"""Reading a range test: curves with a known answer, what the peers' own code says, and when no number is given."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.lr_range import (
    PEERS,
    Suggestion,
    has_diverged,
    noise,
    onset_index,
    peer_answers,
    significant,
    smoother,
    suggest,
)

GOLDEN = Path(__file__).parent / "golden"
CURVES = json.loads((GOLDEN / "curves.json").read_text())
RECORDED = json.loads((GOLDEN / "peers.json").read_text())["suggestions"]

LRS = list(np.geomspace(1e-5, 100, 141))
TURN = math.log10(5.2)


def falling_then_rising(noise_level: float = 0.0, seed: int = 0) -> list[float]:
    """Flat at 2.3, falls by 1 around lr 0.1, least at lr 5.2, then rises steeply."""
    at = np.log10(LRS)
    losses = 2.3 - 1 / (1 + np.exp(-4 * (at + 1))) + 3 * np.maximum(0, at - TURN) ** 2
    return list(losses + np.random.default_rng(seed).normal(0, noise_level, len(LRS)))


def read(losses: list[float], lrs: list[float] = LRS) -> Suggestion:
    return suggest(lrs, losses, losses, div_factor=10)


@pytest.mark.parametrize("curve", sorted(CURVES))
def test_each_peer_rule_says_what_fastais_own_code_says(curve: str) -> None:
    lrs, smoothed = (np.array(CURVES[curve][name]) for name in ("lr", "smoothed_loss"))
    assert peer_answers(lrs, smoothed) == pytest.approx(RECORDED[curve], rel=1e-9)


def test_peer_rules_that_need_more_points_say_nothing() -> None:
    few = peer_answers(np.geomspace(1e-3, 1, 12), np.linspace(2, 1, 12))
    assert set(few) == set(PEERS)
    assert few["slide"] is None
    assert few["minimum"] is not None
    assert peer_answers(np.geomspace(1e-3, 1, 4), np.linspace(2, 1, 4)) == dict.fromkeys(PEERS)


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


def test_the_onset_is_the_first_step_five_percent_of_the_fall_above_the_least() -> None:
    # The fall is 1, so the threshold is 1.05.
    assert onset_index(np.array([2.0, 1.5, 1.0, 1.04, 1.06, 3.0])) == 4
    assert onset_index(np.array([2.0, 1.5, 1.0, 1.04])) is None


def test_max_lr_is_a_tenth_of_the_onset_and_initial_lr_follows_from_div_factor() -> None:
    losses = falling_then_rising()
    onset = onset_index(np.array(losses))
    suggestion = read(losses)
    assert suggestion.max_lr == significant(LRS[onset] / 10)
    assert suggestion.initial_lr == significant(suggestion.max_lr / 10)
    assert suggestion.rule == "onset"
    assert f"{LRS[onset]:.3g}" in suggestion.reason


@given(scale=st.floats(0.01, 100), shift=st.floats(-50, 50))
def test_scaling_or_shifting_the_loss_moves_nothing(scale: float, shift: float) -> None:
    losses = falling_then_rising(noise_level=0.02)
    moved = [scale * loss + shift for loss in losses]
    assert read(moved).max_lr == read(losses).max_lr


def test_the_seed_experiments_curve_gives_what_the_seed_experiment_used() -> None:
    # Least loss at 5.2, onset at 6 to 8, and 0.8 was taken.
    assert 0.6 <= read(falling_then_rising()).max_lr <= 0.9


@pytest.mark.parametrize(
    ("losses", "says"),
    [
        ([2.3 + 0.01 * i for i in range(141)], "never fell"),
        ([2.3] * 141, "never fell"),
        (list(np.linspace(2.3, 1.0, 141)), "never rose"),
        ([math.nan] * 5, "not finite at the first step"),
        ([2.3, 2.2, 2.4, math.inf], "after 3 steps, too few"),
    ],
)
def test_where_no_number_can_be_trusted_the_reason_is_told(losses: list[float], says: str) -> None:
    suggestion = read(losses, LRS[: len(losses)])
    assert suggestion.max_lr is None
    assert suggestion.initial_lr is None
    assert says in suggestion.reason


@pytest.mark.parametrize("seed", range(20))
def test_noise_alone_is_no_fall(seed: int) -> None:
    losses = list(2.3 + np.random.default_rng(seed).normal(0, 0.05, 141))
    smooth = smoother(0.98)
    suggestion = suggest(LRS, losses, [smooth(loss) for loss in losses], div_factor=10)
    assert suggestion.max_lr is None


@pytest.mark.parametrize("seed", range(20))
def test_a_fall_is_seen_through_noise_a_third_as_large_on_each_batch(seed: int) -> None:
    losses = falling_then_rising(noise_level=0.3, seed=seed)
    smooth = smoother(0.9)
    suggestion = suggest(LRS, losses, [smooth(loss) for loss in losses], div_factor=10)
    assert 0.05 < suggestion.max_lr < 2


def test_the_noise_estimate_is_a_standard_deviation_and_passes_over_an_explosion() -> None:
    losses = np.random.default_rng(2).normal(0, 0.1, 10_000)
    assert noise(losses) == pytest.approx(0.1, rel=0.05)
    losses[-500:] = np.geomspace(1, 1e6, 500)
    assert noise(losses) == pytest.approx(0.1, rel=0.1)


def test_what_comes_after_a_loss_that_is_not_finite_is_not_read() -> None:
    losses = falling_then_rising()
    cut = losses[:130] + [math.nan] + [0.0] * 10
    assert read(cut).max_lr == read(losses).max_lr


def test_three_significant_digits_are_promised() -> None:
    assert significant(0.123456) == 0.123
    assert significant(12345.6) == 12300
