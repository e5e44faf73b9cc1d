"""The learning rates of a range test."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.schedules import Range


def test_an_exponential_range_has_both_ends_and_equal_ratios() -> None:
    lrs = [Range(1e-4, 10, 6, "exponential").lr(step) for step in range(6)]
    assert lrs == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1, 10])


def test_a_linear_range_has_both_ends_and_equal_steps() -> None:
    assert [Range(1, 2, 5, "linear").lr(step) for step in range(5)] == pytest.approx([1, 1.25, 1.5, 1.75, 2])


@given(
    start=st.floats(1e-8, 1e-3),
    ratio=st.floats(1.001, 1e6),
    num_steps=st.integers(10, 500),
    mode=st.sampled_from(["exponential", "linear"]),
)
def test_a_range_that_goes_on_ends_at_ten_times_its_end_and_takes_no_longer_than_before(
    start: float, ratio: float, num_steps: int, mode: str
) -> None:
    lrs = Range(start, start * ratio, num_steps, mode)
    total = num_steps + lrs.further_steps
    assert total <= 2 * num_steps
    assert lrs.lr(total - 1) == pytest.approx(10 * lrs.end_lr)
    assert all(lrs.lr(step) < lrs.lr(step + 1) for step in range(total - 1))


def test_an_exponential_range_goes_on_at_its_own_pace() -> None:
    lrs = Range(1e-4, 10, 101, "exponential")
    assert lrs.further_steps == 20
    ratios = [lrs.lr(step + 1) / lrs.lr(step) for step in range(120)]
    assert ratios == pytest.approx([10 ** (5 / 100)] * 120)
