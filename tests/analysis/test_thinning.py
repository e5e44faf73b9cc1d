"""Thinned curves keep their peaks, their ends and their gaps."""

import math

from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.analysis.thinning import FEWEST, thinned


def test_a_short_curve_is_kept_whole() -> None:
    assert thinned([3.0, 1.0, 2.0], 4) == [0, 1, 2]
    assert thinned([], 4) == []


def test_the_lowest_and_the_highest_of_each_part_stay() -> None:
    # Two parts of five: 5 and -1 in the first, 9 and 0 in the second.
    values = [1.0, 5.0, -1.0, 1.0, 1.0, 0.0, 1.0, 9.0, 1.0, 1.0]
    assert thinned(values, 6) == [0, 1, 2, 5, 7, 9]


def test_what_is_not_finite_is_no_peak_and_a_gap_stays() -> None:
    values = [1.0, math.inf, 2.0, None, math.nan, math.nan, math.nan, None]
    # The first part has 1 and 2; the second has nothing finite, and its first value stays for it.
    assert thinned(values, 6) == [0, 2, 4, 7]


@given(st.lists(st.one_of(st.none(), st.floats()), max_size=60), st.integers(min_value=-1, max_value=30))
def test_no_more_than_asked_and_always_the_ends_and_the_extremes(values: list, most: int) -> None:
    kept = thinned(values, most)
    assert len(kept) <= max(most, FEWEST)
    assert kept == sorted(set(kept))
    finite = [value for value in values if value is not None and math.isfinite(value)]
    if finite:
        assert {min(finite), max(finite)} <= {values[i] for i in kept}
    if values:
        assert {0, len(values) - 1} <= set(kept)
