"""Rules on how a run comes out, whatever the cause: overfitting, underfitting, nothing left to learn.

How the thresholds were found, on which runs they were proved, and what cannot be told is in docs/diagnose.md.
"""

import math

from onecycle_cli.analysis.diagnosis.causes import FAR_BELOW
from onecycle_cli.analysis.diagnosis.curves import (
    Epoch,
    Settings,
    TrainingRun,
    best_on_validation,
    gap_is_sure,
    level_reached,
    standard_error,
    underfits,
)
from onecycle_cli.analysis.diagnosis.statement import Place, Statement, higher_lr, in_words, losses, together
from onecycle_cli.analysis.weight_decay import MOST_SHRINKAGE

SINCE_SHARE, SINCE_EPOCHS = 0.2, 3
"""The validation loss has not fallen for this share of the planned epochs, and for so many. Healthy runs reached their
last level in the last 0.07 of them, since it is the end of the cycle that brings it."""

LEVEL = 0.02
"""Validation losses within this share are on one level."""

LEARNED_ON = 0.2
"""The share by which the train loss has to fall meanwhile: else nothing was learned at all."""

TURNED_UP, TURNED_EPOCHS = 0.1, 5
"""By so much, and for so many epochs (and `SINCE_SHARE` of those planned), all validation losses lie above the least
one before. Near the peak of lr they did so for two of 12 epochs in a healthy run."""

BY_HEART = 0.995
"""The train accuracy from which on the images are known by heart. The loss does not say: with the scaled logits of
ResNet-9 it was 0.05 where every image was right."""

MOST_OF_RUN = 0.5
"""Known by heart for so much of the run, there was nothing left to learn."""


def overfitting(run: TrainingRun) -> Statement | None:
    """The train loss falls on, the validation loss does not; or the images are known by heart for most of the run."""
    if not gap_is_sure(run):
        return None
    return _turned_up(run) or _stays(run) or _by_heart(run)


def cycle_too_long(run: TrainingRun) -> Statement | None:
    """The train images are known by heart for most of the run, at no price that the validation images would show."""
    known = _known_by_heart(run)
    if known is None or gap_is_sure(run) or not run.complete:
        return None
    last = run.epochs[-1]
    return Statement(
        "cycle-too-long",
        Place("epoch", known.epoch, last.epoch),
        f"{_knows(known)}: the other {last.epoch - known.epoch} epochs had nothing left to learn from.",
        losses(run) | {"known_epoch": known.epoch},
        f"Train for fewer epochs, such as --epochs {known.epoch}.",
    )


def underfitting(run: TrainingRun) -> Statement | None:
    """Train and validation loss end together, and far from zero."""
    if not (run.complete and underfits(run)):
        return None
    last = run.epochs[-1]
    return Statement(
        "underfitting",
        Place("epoch", last.epoch, last.epoch),
        together(run),
        losses(run),
        f"Train for longer, such as --epochs {2 * run.settings.epochs}; if that changes little, take a wider network.",
    )


def _stays(run: TrainingRun) -> Statement | None:
    if not run.complete:
        return None
    reached, last = level_reached(run.epochs, LEVEL), run.epochs[-1]
    if not (_is_long_ago(run, reached) and _learned_on(run, reached)):
        return None
    text = (
        f"The validation loss was at its last level in epoch {reached.epoch} already, "
        f"{in_words(reached.valid_loss)}, and ended at {in_words(last.valid_loss)}; the train loss fell "
        f"from {reached.train_loss:.3g} to {last.train_loss:.3g}."
    )
    return _overfitting(run, text, reached)


def _turned_up(run: TrainingRun) -> Statement | None:
    """While lr is high the validation loss jumps, so all of the last ones have to lie above the least before."""
    recent = max(TURNED_EPOCHS, math.ceil(SINCE_SHARE * run.settings.epochs))
    if len(run.epochs) <= recent:
        return None
    least, now = best_on_validation(run.epochs[:-recent]), [epoch.valid_loss for epoch in run.epochs[-recent:]]
    # A validation loss that is no number has not turned up.
    if not (all(loss >= (1 + TURNED_UP) * least.valid_loss for loss in now) and _learned_on(run, least)):
        return None
    last = run.epochs[-1]
    text = (
        f"The validation loss turned up: from {in_words(least.valid_loss)} in epoch {least.epoch} to "
        f"{in_words(last.valid_loss)}, and {in_words(min(now))} at least in the last {recent} epochs; the train loss "
        f"fell from {least.train_loss:.3g} to {last.train_loss:.3g}."
    )
    return _overfitting(run, text, least)


def _by_heart(run: TrainingRun) -> Statement | None:
    known, last = _known_by_heart(run), run.epochs[-1]
    if known is None:
        return None
    text = (
        f"{_knows(known)}; the validation loss ended at {in_words(last.valid_loss)}, "
        f"the train loss at {last.train_loss:.2g}."
    )
    return _overfitting(run, text, known)


def _known_by_heart(run: TrainingRun) -> Epoch | None:
    """The epoch since when the train images are known by heart, where that was for most of the run."""
    known = next((epoch for epoch in run.epochs if epoch.train_accuracy >= BY_HEART), None)
    if known is None or run.epochs[-1].epoch - known.epoch < MOST_OF_RUN * run.settings.epochs:
        return None
    return known


def _knows(known: Epoch) -> str:
    return f"From epoch {known.epoch} on the train images are known by heart ({known.train_accuracy:.1%} right)"


def _is_long_ago(run: TrainingRun, epoch: Epoch) -> bool:
    return run.epochs[-1].epoch - epoch.epoch >= max(SINCE_EPOCHS, SINCE_SHARE * run.settings.epochs)


def _learned_on(run: TrainingRun, since: Epoch) -> bool:
    return run.excess(run.epochs[-1]) <= (1 - LEARNED_ON) * run.excess(since)


def _overfitting(run: TrainingRun, text: str, since: Epoch) -> Statement:
    last, settings = run.epochs[-1], run.settings
    error = standard_error(last.valid_accuracy, settings.valid_images)
    gap = last.train_accuracy - last.valid_accuracy
    points = f"{100 * gap:.1f} points above validation accuracy (standard error {100 * error:.1f})"
    return Statement(
        "overfitting",
        Place("epoch", since.epoch, last.epoch),
        f"{text} Train accuracy is {points}.",
        losses(run)
        | {"since_train_loss": since.train_loss, "since_valid_loss": since.valid_loss}
        | {"accuracy_gap": gap, "standard_error": error},
        _regularize(settings, since),
    )


def _regularize(settings: Settings, since: Epoch) -> str:
    """A large lr regularizes (Smith's report), so it comes first; then more images; then the weight decay."""
    if settings.max_lr <= FAR_BELOW * settings.fitting_max_lr:
        return f"A large lr regularizes. {higher_lr(settings)}"
    if not settings.augmented:
        return "Augment: --set data.random_crop=true, and data.horizontal_flip=true where a mirrored image is one too."
    if settings.shrinkage < MOST_SHRINKAGE / 10:
        decay = MOST_SHRINKAGE / 2 / (settings.gain * settings.max_lr)
        return f"Train with a larger weight decay, such as --weight-decay {decay:.0e}."
    return f"Regularize more, by weight decay, dropout or label smoothing; or train for {since.epoch} epochs."
