"""Rules that name a cause, each on curves made for it: what it says, and where it keeps silent."""

from collections.abc import Callable

import pytest

from onecycle_cli.analysis.diagnosis import CurveStep, Place, TrainingRun
from onecycle_cli.analysis.diagnosis.causes import (
    collapsed,
    decays_too_much,
    diverged,
    dropout_too_strong,
    lr_too_small,
    smoothing_too_strong,
    stalled,
    tail_too_long,
)

Run = Callable[..., TrainingRun]
STALLING = [2.0, 1.8, 1.7, 1.75, 1.72, 1.8, 1.7, 1.6, 1.5, 1.4]
FALLING = [2.2, 2.1, 2.0, 1.9, 1.8, 1.7, 1.6, 1.5, 1.4, 1.3]
STEPS = [CurveStep(0, 0.1, 2.3), CurveStep(1, 0.2, 5.0), CurveStep(2, 0.3, float("nan"))]


def test_a_diverged_run_tells_the_step_and_its_lr(run_of: Run) -> None:
    found = diverged(run_of([], [], planned=5, status="diverged", steps=STEPS))
    assert (found.rule, found.place) == ("diverged", Place("step", 2, 2))
    assert found.evidence == {"step": 2, "lr": 0.3, "max_lr": 0.2}
    assert diverged(run_of([1.0], [1.0], steps=STEPS[:2])) is None


def test_a_collapsed_run_tells_when_it_knew_most(run_of: Run) -> None:
    found = collapsed(run_of([2.0, 1.5, 2.4], [2.0] * 3, status="collapsed"))
    assert (found.rule, found.place) == ("collapsed", Place("epoch", 2, 3))
    assert "lower --max-lr" in found.advice
    assert collapsed(run_of([2.0, 1.5, 2.4], [2.0] * 3)) is None


def test_a_collapsed_run_whose_validation_loss_is_not_finite_says_so_and_when_it_was_least(run_of: Run) -> None:
    for last in (float("nan"), float("inf")):
        losses = [float("nan"), 1.9, 2.0, last]
        found = collapsed(run_of([2.0, 1.5, 1.2, 1.0], losses, status="collapsed", accuracies=[(0.5, 0.1)] * 4))
        assert found.place == Place("epoch", 2, 4)
        assert found.evidence["least_valid_loss"] == 1.9
        assert "their loss ended at a value that is not finite (guessing: 2.3), and" in found.text
        assert "lower --max-lr" in found.advice  # labels that do not fit let no network overflow


def test_a_run_that_never_moved_has_too_small_a_lr(run_of: Run) -> None:
    found = collapsed(run_of([2.4, 2.4], [2.3] * 2, status="collapsed", max_lr=1e-6))
    assert found.rule == "lr-too-small"
    assert "higher --max-lr" in found.advice


def test_a_weight_decay_that_takes_all_weights_is_named_in_a_collapse(run_of: Run) -> None:
    found = collapsed(run_of([2.4, 2.4], [2.3] * 2, status="collapsed", weight_decay=0.1))
    assert found.rule == "collapsed"
    assert "--weight-decay 1e-03" in found.advice


def test_a_train_loss_that_stalls_at_the_peak_is_due_to_a_large_lr(run_of: Run) -> None:
    found = stalled(run_of(STALLING, [2.0] * 10, max_lr=2.0))
    assert (found.rule, found.place) == ("lr-too-large", Place("epoch", 3, 7))
    assert found.evidence["share_of_epochs"] == 0.4
    assert "max_lr is 2; the usual value is 0.11." in found.text
    assert stalled(run_of(FALLING, [2.0] * 10, max_lr=2.0)) is None


def test_a_stall_of_two_epochs_is_none(run_of: Run) -> None:
    assert stalled(run_of([2.0, 1.8, 1.7, 1.75, 1.7, 1.6, 1.5, 1.4], [2.0] * 8, max_lr=2.0)) is None


def test_the_range_test_has_its_say_on_lr(run_of: Run) -> None:
    assert stalled(run_of(STALLING, [2.0] * 10, max_lr=2.0, suggested_max_lr=3.0, weight_decay=1e-4)) is None
    found = stalled(run_of(STALLING, [2.0] * 10, max_lr=2.0, suggested_max_lr=0.25))
    assert found.advice == "Train with --max-lr 0.25, which the range test suggests."


def test_a_stall_is_due_to_a_weight_decay_that_is_too_large_at_any_fitting_lr(run_of: Run) -> None:
    found = stalled(run_of(STALLING, [2.0] * 10, weight_decay=0.05))
    assert found.rule == "weight-decay-too-large"
    assert found.evidence["shrinkage"] == pytest.approx(0.2 * 0.05 / 0.15)
    assert stalled(run_of(STALLING, [2.0] * 10, max_lr=0.05)) is None  # neither explains it


def test_underfitting_is_due_to_a_weight_decay_that_is_too_large(run_of: Run) -> None:
    heavy = run_of(FALLING, FALLING, weight_decay=0.05)
    assert decays_too_much(heavy).rule == "weight-decay-too-large"
    assert decays_too_much(run_of(FALLING, FALLING)) is None
    assert decays_too_much(run_of(FALLING, FALLING, weight_decay=0.05, planned=12)) is None  # it may learn them yet
    assert decays_too_much(run_of([0.01], [0.1], weight_decay=0.05)) is None
    assert decays_too_much(run_of(STALLING, STALLING, weight_decay=0.05)) is None  # said by the stall


def test_a_validation_loss_that_glides_down_far_below_the_fitting_lr_has_too_small_a_lr(run_of: Run) -> None:
    long = [2.3 - 0.1 * epoch for epoch in range(12)]
    found = lr_too_small(run_of(long, long, max_lr=0.01))
    assert (found.rule, found.place) == ("lr-too-small", Place("epoch", 3, 9))
    assert lr_too_small(run_of(long, long, max_lr=0.05)) is None  # not far below
    assert lr_too_small(run_of(long, [*long[:5], 2.0, *long[6:]], max_lr=0.01)) is None  # it jumps
    assert lr_too_small(run_of(long[:5], long[:5], max_lr=0.01)) is None  # too few epochs near the peak
    assert lr_too_small(run_of([0.01] * 12, long, max_lr=0.01)) is None  # the train images are learned


def test_dropout_that_hides_what_is_known_is_too_strong(run_of: Run) -> None:
    hidden = [(0.4, 0.6)] * 3
    found = dropout_too_strong(run_of([1.5] * 3, [1.0] * 3, accuracies=hidden, dropout=0.8))
    assert found.rule == "regularization-too-strong"
    assert found.advice.endswith("model.dropout=0.4.")
    assert found.evidence["accuracy_gap"] == pytest.approx(-0.2)
    assert dropout_too_strong(run_of([1.5] * 3, [1.0] * 3, accuracies=hidden)) is None
    assert dropout_too_strong(run_of([1.5] * 3, [1.0] * 3, accuracies=[(0.56, 0.6)] * 3, dropout=0.8)) is None
    few = run_of([1.5] * 3, [1.0] * 3, accuracies=[(0.5, 0.6)] * 3, dropout=0.8, valid_images=100)
    assert dropout_too_strong(few) is None  # noise: its standard error is 0.05


def test_label_smoothing_that_makes_most_of_the_loss_is_too_strong(run_of: Run) -> None:
    found = smoothing_too_strong(run_of([2.0], [1.0], label_smoothing=0.6))
    assert found.rule == "regularization-too-strong"
    assert found.evidence["unsure_loss"] == pytest.approx(0.7765, abs=1e-4)
    assert smoothing_too_strong(run_of([2.0], [0.11], label_smoothing=0.1)) is None
    assert smoothing_too_strong(run_of([2.0], [2.0], label_smoothing=0.6)) is None


TAIL = ([1.5, 1.2, 1.0, 0.9, 0.8, 0.7, 0.65, 0.6, 0.55, 0.5], [1.5, 1.4, 1.3, 1.2, 1.2, 1.2, 1.2, 1.19, 1.19, 1.19])


def test_a_long_tail_that_learns_the_train_images_alone_is_too_long(run_of: Run) -> None:
    found = tail_too_long(run_of(*TAIL, tail_share=0.6))
    assert (found.rule, found.place) == ("tail-too-long", Place("epoch", 7, 10))
    assert found.evidence["train_fell"] == pytest.approx(1 - 0.5 / 0.65)
    assert tail_too_long(run_of(*TAIL, tail_share=0.2)) is None
    assert tail_too_long(run_of(TAIL[0], TAIL[0], tail_share=0.6)) is None  # both fell
    assert tail_too_long(run_of(*TAIL, tail_share=0.6, valid_images=10)) is None  # no gap that would be sure
    assert tail_too_long(run_of(*TAIL, tail_share=0.6, planned=12)) is None  # it goes on


def published(run_of: Run, tail_share: float, train_loss: float, valid_loss: float, accuracy: float) -> TrainingRun:
    """A run of the blog post by its last epoch of 95; what its train accuracy was has not been published."""
    known = [(float("nan"), accuracy)]
    settings = {"planned": 1, "max_lr": 0.8, "weight_decay": 1e-4, "tail_share": tail_share, "valid_images": 10_000}
    return run_of([train_loss], [valid_loss], accuracies=known, **settings)


def test_the_tail_of_the_published_short_cycle_is_too_long_and_that_of_the_long_one_is_not(run_of: Run) -> None:
    # E1 and E2 of the 1cycle blog post's notebook: 93.53 % and 92.58 %
    assert tail_too_long(published(run_of, 0.1368, 0.0094, 0.2691, 0.9353)) is None
    found = tail_too_long(published(run_of, 0.5, 0.0047, 0.3540, 0.9258))
    assert "train loss 0.0047, validation loss 0.354" in found.text


UNEQUAL = {"classes": 2, "train_counts": (152, 8), "valid_counts": (38, 2), "status": "collapsed"}


def test_a_collapse_of_unequal_classes_is_judged_by_their_shares(run_of: Run) -> None:
    found = collapsed(run_of([0.3, 0.25, 0.21], [0.3] * 3, **UNEQUAL))
    assert (found.rule, found.place) == ("collapsed", Place("epoch", 3, 3))
    assert "ended at 0.21, no better than chance (0.199)" in found.text
    assert found.evidence["chance"] == pytest.approx(0.1985, abs=1e-4)


def test_train_images_learned_by_heart_are_a_collapse_that_no_lr_mends(run_of: Run) -> None:
    found = collapsed(run_of([0.3, 0.2, 0.1], [0.3, 0.2, 0.35], **UNEQUAL))
    assert (found.rule, found.place) == ("collapsed", Place("epoch", 2, 3))
    assert "ended at 0.35 (guessing: 0.199)" in found.text
    assert "labels" in found.advice
    assert "max-lr" not in found.advice
