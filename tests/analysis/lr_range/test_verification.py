"""What short cycles make of a suggestion."""

import math

import pytest

from onecycle_cli.analysis.lr_range import Suggestion, VerificationCycle, verified

PLAIN = Suggestion(0.3, 0.1, 0.03, "medium", 0.3, 1.5, 0.1, 0.9, None, "basin", "Because.", {})


def judged(*losses: float) -> Suggestion:
    trials = [VerificationCycle(lr, 40, loss, 0.5) for lr, loss in zip((0.1, 0.3, 0.9), losses, strict=True)]
    return verified(PLAIN, trials, div_factor=10)


def test_losses_that_are_least_at_the_suggestion_leave_it_there() -> None:
    assert judged(1.1, 1.0, 1.1).max_lr == 0.3
    assert judged(1.1, 1.0, 1.1).reason.endswith("and did not move it.")


def test_it_moves_half_way_to_where_the_parabola_is_least() -> None:
    # By hand, in units of log 3: losses 1.3, 1.0, 0.9 at -1, 0, 1 are 1 - 0.2 x + 0.1 x^2, least at 1.
    assert judged(1.3, 1.0, 0.9).max_lr == pytest.approx(0.3 * 3**0.5, rel=0.01)
    # 1.2, 1.0, 1.1: 1 - 0.05 x + 0.15 x^2, least at a sixth.
    assert judged(1.2, 1.0, 1.1).max_lr == pytest.approx(0.3 * 3 ** (1 / 12), rel=0.01)


def test_it_never_leaves_the_lrs_that_were_tried() -> None:
    assert judged(1.0, 1.2, 1.399).max_lr == pytest.approx(0.3 * 3**-0.5, rel=0.01)
    assert judged(1.0, 1.2, 1.3).max_lr == pytest.approx(0.3 * 3**-0.5, rel=0.01)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e9])
def test_a_cycle_that_diverged_counts_as_a_cliff_whatever_its_loss(bad: float) -> None:
    assert judged(1.0, 1.0, bad).max_lr == judged(1.0, 1.0, 1.5).max_lr < 0.3
    assert judged(1.0, 1.0, bad).confidence == "medium"


@pytest.mark.parametrize("losses", [(1.0, math.nan, math.nan), (math.nan, math.nan, 1.0), (1.0, 1.6, 2.0)])
def test_where_the_suggestion_itself_did_far_worse_than_another_the_confidence_is_low(losses: tuple) -> None:
    assert judged(*losses).confidence == "low"


@pytest.mark.parametrize("losses", [(2.3026, 2.3026, 2.3026), (2.300, 2.302, 2.304), (0.0, 0.0, 0.0)])
def test_losses_that_are_too_much_alike_move_nothing(losses: tuple) -> None:
    assert judged(*losses).max_lr == 0.3
    assert "too similar to move" in judged(*losses).reason


def test_what_was_tried_is_told() -> None:
    better = judged(1.2, 1.0, 1.1)
    assert better.reason == (
        "Because. Cycles of 40 steps had validation losses of 1.2 at lr 0.1, 1 at lr 0.3, 1.1 at lr 0.9, "
        "and moved it from 0.3."
    )
    assert "none, diverged, at lr 0.9" in judged(1.2, 1.0, math.nan).reason
    assert better.rule == "basin, verified"
    assert better.initial_lr == pytest.approx(better.max_lr / 10, rel=0.01)
    assert better.conservative_max_lr == pytest.approx(better.max_lr / 3, rel=0.01)
    assert better.confidence == "medium"


def test_where_every_cycle_diverged_the_confidence_is_low() -> None:
    worse = judged(math.nan, math.nan, math.nan)
    assert (worse.max_lr, worse.confidence) == (0.3, "low")
    assert "take conservative_max_lr" in worse.reason
