"""Searching for a batch size: the threshold is found whatever it is, and nothing is tried in vain."""

from math import log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.analysis.batch_size import (
    GAIN,
    MARGIN,
    MULTIPLE,
    RESOLUTION,
    SMALLEST_FAST,
    Speed,
    epochs_in_equal_time,
    half,
    largest_that_fits,
    measured_speeds,
    sizes_around,
    smallest_fast,
    with_margin,
)

LIMITS = st.integers(2, 100_000)
SPEEDS = st.floats(1, 1e6)


@given(threshold=st.integers(0, 200_000), limit=LIMITS)
def test_the_largest_that_fits_is_found_to_a_32nd_in_few_trials_none_above_the_limit(
    threshold: int, limit: int
) -> None:
    check_largest(threshold, limit)


def test_so_it_is_for_every_small_limit() -> None:
    for limit in range(2, 150):
        for threshold in range(limit + 1):
            check_largest(threshold, limit)


def check_largest(threshold: int, limit: int) -> None:
    tried: list[int] = []

    def fits(batch_size: int) -> bool:
        assert batch_size not in tried
        tried.append(batch_size)
        return batch_size <= threshold

    found = largest_that_fits(fits, limit)
    assert max(tried) <= limit
    assert len(tried) <= log2(limit) + log2(RESOLUTION) + 2
    if found is None:
        assert tried == [min(MULTIPLE, limit)]
        assert threshold < tried[0]
    else:
        assert found <= threshold
        too_large = [size for size in tried if size > threshold]
        assert found == limit or min(too_large) - found <= max(MULTIPLE, found / RESOLUTION)
        assert found % MULTIPLE == 0 or found == limit


def test_sizes_double_and_then_the_gap_is_halved() -> None:
    tried: list[int] = []

    def fits(batch_size: int) -> bool:
        tried.append(batch_size)
        return batch_size <= 100

    assert largest_that_fits(fits, 1000) == 96
    assert tried == [8, 16, 32, 64, 128, 96, 112, 104]


@given(st.integers(2, 1_000_000))
def test_the_margin_is_a_tenth_and_the_rest_a_multiple_of_8(largest: int) -> None:
    left = with_margin(largest)
    assert 2 <= left <= largest
    if largest >= 2 * MULTIPLE:
        assert left % MULTIPLE == 0
        assert (1 - MARGIN) * largest - MULTIPLE < left <= (1 - MARGIN) * largest


@pytest.mark.parametrize(("largest", "left"), [(1000, 896), (96, 80), (16, 8), (8, 8), (5, 5)])
def test_the_margin_by_hand(largest: int, left: int) -> None:
    assert with_margin(largest) == left


@given(speeds=st.lists(st.one_of(SPEEDS, st.none()), min_size=20, max_size=20), limit=LIMITS)
def test_speeds_are_measured_as_long_as_they_grow_at_sizes_that_double(speeds: list[float | None], limit: int) -> None:
    tried: list[int] = []

    def images_per_second(batch_size: int) -> float | None:
        tried.append(batch_size)
        return speeds[len(tried) - 1]

    found = measured_speeds(images_per_second, limit)
    assert tried == [min(SMALLEST_FAST, limit) * 2**n for n in range(len(tried))]
    assert max(tried) <= limit
    assert [speed.batch_size for speed in found] == [size for size, speed in zip(tried, speeds, strict=False) if speed]
    gains = [n for n, one in enumerate(found) if one.images_per_second >= (1 + GAIN) * max_before(found, n)]
    stopped = len(found) - 1 - gains[-1] if found else 0
    assert stopped <= 2
    ended_early = 2 * tried[-1] <= limit
    assert not ended_early or stopped == 2 or speeds[len(tried) - 1] is None


def max_before(speeds: list[Speed], number: int) -> float:
    return max((speed.images_per_second for speed in speeds[:number]), default=0.0)


def test_the_search_ends_after_two_sizes_that_bring_no_gain() -> None:
    table = {16: 100.0, 32: 180.0, 64: 175.0, 128: 200.0, 256: 205.0, 512: 209.0, 1024: 1000.0}
    found = measured_speeds(table.__getitem__, limit=5000)
    assert [speed.batch_size for speed in found] == [16, 32, 64, 128, 256, 512]
    # 200 x 1.05 is 210: no other size gains on 128.
    assert smallest_fast(found).batch_size == 128


@given(st.lists(SPEEDS, min_size=1, max_size=12))
def test_the_size_taken_is_the_smallest_near_the_best(rates: list[float]) -> None:
    speeds = [Speed(16 * 2**n, rate) for n, rate in enumerate(rates)]
    taken = smallest_fast(speeds)
    assert (1 + GAIN) * taken.images_per_second >= max(rates)
    smaller = [speed for speed in speeds if speed.batch_size < taken.batch_size]
    assert all((1 + GAIN) * speed.images_per_second < max(rates) for speed in smaller)


def test_where_the_first_size_does_not_fit_there_are_no_speeds() -> None:
    assert measured_speeds(lambda _: None, 100) == []


def test_sizes_around_one_leave_an_epoch_some_steps_and_are_no_smaller_than_8() -> None:
    assert sizes_around(128, (1 / 4, 1 / 2, 1, 2, 4), images=1437) == [32, 64, 128, 256]
    assert sizes_around(16, (1 / 4, 1 / 2, 1), images=1437) == [8, 16]
    assert sizes_around(16, (1, 2), images=10) == []


@pytest.mark.parametrize(("own", "other", "epochs"), [(1000, 1000, 10), (1000, 2000, 20), (1000, 240, 2), (1000, 1, 1)])
def test_a_faster_size_has_more_epochs_in_the_same_time(own: float, other: float, epochs: int) -> None:
    assert epochs_in_equal_time(10, own, other) == epochs


@pytest.mark.parametrize(("size", "smaller"), [(4096, 2048), (100, 48), (20, 8), (16, 8), (15, None), (2, None)])
def test_half_of_a_size_is_a_multiple_of_8_if_there_is_one(size: int, smaller: int | None) -> None:
    assert half(size) == smaller
