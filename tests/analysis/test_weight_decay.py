"""The weight decay that is chosen from a sweep."""

import math

import pytest

from onecycle_cli.analysis.weight_decay import WITHIN, SweepRow, WeightDecayChoice, bisected, read_weight_decay


def row(weight_decay: float, reach_lr: float | None, max_lr: float | None = 0.02) -> SweepRow:
    status = "finished" if max_lr else "diverged"
    return SweepRow(weight_decay, 1.0, 2.0, reach_lr, None, max_lr, status)


def read(rows: list[SweepRow], gain: float = 1.0) -> WeightDecayChoice:
    return read_weight_decay(rows, gain)


# Published for ResNet-56: where the loss is 5 % above its least, and where it is four times that and stops the test. It
# comes past half of its fall somewhere between.
SEED = {1e-2: math.sqrt(3.4 * 8.2), 1e-3: math.sqrt(6.0 * 9.0), 1e-4: math.sqrt(7.4 * 20.7)}


def test_the_seeds_overlay_reads_1e_4() -> None:
    reading = read([row(*item) for item in SEED.items()])
    assert reading.chosen.weight_decay == 1e-4
    assert "12.4" in reading.reason
    assert "5.28 at 0.01" in reading.reason


@pytest.mark.parametrize("noise", [(0.9, 1.1, 0.9), (1.1, 0.9, 1.1), (1.1, 1.1, 0.9)])
def test_noise_of_a_tenth_does_not_flip_the_seeds_overlay(noise: tuple[float, ...]) -> None:
    rows = [row(value, factor * reach) for factor, (value, reach) in zip(noise, SEED.items(), strict=True)]
    assert read(rows).chosen.weight_decay == 1e-4


def test_the_largest_of_those_within_the_factor_is_chosen() -> None:
    reading = read([row(1e-2, 8.2), row(1e-3, 20.7 / WITHIN + 0.1), row(1e-4, 20.7), row(1e-5, 19.0)])
    assert reading.chosen.weight_decay == 1e-3


def test_a_weight_decay_that_takes_too_much_of_the_weights_in_a_step_is_passed_over() -> None:
    rows = [row(1e-2, 8.0, max_lr=0.3), row(1e-3, 8.0, max_lr=0.3), row(1e-4, 8.0, max_lr=0.3)]
    # 0.3 x 1e-3 is 3e-4 a step; carried 6.7 times as far by a momentum of 0.85 it is 2e-3.
    assert read(rows, gain=1).chosen.weight_decay == 1e-3
    reading = read(rows, gain=1 / 0.15)
    assert reading.chosen.weight_decay == 1e-4
    assert "Left out: 0.001, 0.01, which would remove over 0.1% of the weights in one step" in reading.reason
    too_much = read(rows, gain=1000)
    assert too_much.chosen.weight_decay == 1e-4
    assert "all of them" in too_much.reason


def test_the_order_of_the_rows_does_not_matter() -> None:
    rows = [row(1e-2, 11.0), row(1e-3, 18.4), row(1e-4, 20.7)]
    assert read(rows).chosen == read(rows[::-1]).chosen


@pytest.mark.parametrize("unusable", [row(1e-1, 50.0, max_lr=None), row(1e-1, None)])
def test_a_value_without_a_suggestion_is_neither_chosen_nor_the_measure(unusable: SweepRow) -> None:
    assert read([unusable, row(1e-3, 9.0)]).chosen.weight_decay == 1e-3


def test_with_no_suggestion_at_all_nothing_is_chosen() -> None:
    reading = read([row(1e-1, None, max_lr=None)])
    assert reading.chosen is None
    assert "No weight decay" in reading.reason


@pytest.mark.parametrize(
    ("values", "chosen", "between"),
    [
        ([1e-2, 1e-3, 1e-4], 1e-3, [3.16e-4, 3.16e-3]),
        ([1e-2, 1e-4], 1e-4, [1e-3]),
        ([1e-3, 0.0], 1e-3, []),
        ([1e-3, 0.0], 0.0, []),
        ([1e-3], 1e-3, []),
        ([1e-3, 1.001e-3], 1e-3, []),
    ],
)
def test_the_exponent_is_bisected_on_both_sides_of_the_choice(
    values: list[float], chosen: float, between: list[float]
) -> None:
    assert bisected(values, chosen) == between
