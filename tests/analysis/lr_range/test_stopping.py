"""When a range test is over."""

import math
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.analysis.lr_range import Curve, StopRule, has_diverged, has_risen, smoother


def lr(step: int) -> float:
    return float(1e-4 * 10 ** (step / 10))


def fed(losses: Iterable[float], num_steps: int = 20, further_steps: int = 10, **settings: float) -> StopRule:
    """A rule that has taken losses until it said that the test is over."""
    rule = StopRule(num_steps, further_steps, **({"smoothing": 0.5, "stop_factor": 4.0} | settings))
    for step, loss in enumerate(losses):
        rule.record(lr(step), loss)
        if rule.end is not None:
            break
    return rule


FALLEN = [2.0] * 5 + [1.0] * 10


def test_a_loss_that_has_risen_by_the_last_step_ends_the_test_there() -> None:
    rule = fed([*FALLEN, 1.9, 2.0, 2.1, 2.2, 2.3, 2.4, 2.5])
    assert (rule.end, len(rule.losses), rule.total_steps) == ("risen", 20, 20)


def test_a_loss_that_has_not_risen_makes_the_test_go_on_once() -> None:
    rule = fed([*FALLEN, *[1.0] * 5])
    assert (rule.end, len(rule.losses), rule.total_steps) == (None, 20, 30)
    assert fed([*FALLEN, *[1.0] * 50]).end == "not risen"
    assert len(fed([*FALLEN, *[1.0] * 50]).losses) == 30
    later = fed([*FALLEN, *[1.0] * 5, *[2.5] * 50])
    assert (later.end, len(later.losses)) == ("risen", 30)


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_ends_the_test_with_the_step_that_told(loss: float) -> None:
    rule = fed([2.0, 1.9, loss, 1.8])
    assert rule.end == "diverged"
    assert len(rule.losses) == len(rule.smoothed_losses) == len(rule.lrs) == 3
    assert rule.lrs == [lr(0), lr(1), lr(2)]


def test_an_explosion_ends_the_test_at_four_times_the_least_average() -> None:
    # Averages without memory: 1 at best, so that 4 is not above four times it, and 4.1 is.
    rule = fed([*FALLEN, 4.0, 4.1, 9.0], smoothing=0.0)
    assert (rule.end, rule.losses[-1]) == ("diverged", 4.1)


def test_four_times_the_least_average_is_no_divergence_where_the_loss_has_not_risen_from_its_basin() -> None:
    # From 2 to a hundredth and to six times that: 97 % of the fall are still there.
    rule = fed([*[2.0] * 5, *[0.01] * 5, *[0.06] * 10], smoothing=0.0)
    assert (rule.end, len(rule.losses)) == (None, 20)


@given(
    losses=st.lists(st.floats(0.01, 10) | st.sampled_from([math.nan, math.inf]), min_size=1, max_size=40),
    num_steps=st.integers(1, 20),
    further_steps=st.integers(0, 20),
)
def test_the_test_ends_at_the_first_step_that_the_rule_names(
    losses: list[float], num_steps: int, further_steps: int
) -> None:
    rule = fed(losses, num_steps, further_steps)
    smooth, best, ended = smoother(0.5), math.inf, None
    for step, loss in enumerate(losses):
        smoothed = smooth(loss)
        best = min(best, smoothed)
        risen = has_risen(Curve([lr(n) for n in range(step + 1)], losses[: step + 1]))
        told = has_diverged(loss, smoothed, best, 4.0) and risen
        if told or (step + 1 == num_steps and risen) or step + 1 == num_steps + further_steps:
            ended = step
            break
    assert (rule.end is not None) == (ended is not None)
    if ended is not None:
        assert len(rule.losses) == ended + 1
    else:
        assert len(rule.losses) == len(losses)
