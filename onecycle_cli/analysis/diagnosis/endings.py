"""Rules on how a run ends, whatever the cause: overfitting, underfitting, or nothing left to learn.

docs/diagnose.md describes how the thresholds were found, on which runs they were tested, and what no rule can detect.
"""

import math

from onecycle_cli.analysis.diagnosis.causes import FAR_BELOW
from onecycle_cli.analysis.diagnosis.curves import (
    CurveEpoch,
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
"""The share of the planned epochs, and the number of epochs, without a fall of the validation loss that count as long.
Healthy runs reached their last level within the last 0.07 of their epochs, since the end of the cycle brings it."""

LEVEL = 0.02
"""The relative difference within which validation losses count as being on the same level."""

LEARNED_ON = 0.2
"""The share by which the train loss must fall while the validation loss does not: otherwise nothing was learned at all.
"""

TURNED_UP, TURNED_EPOCHS = 0.1, 5
"""The relative rise, and the number of epochs (or `SINCE_SHARE` of the planned ones, if more), for which all validation
losses lie above the least one before. Near the peak of lr they did so for two of 12 epochs in a healthy run."""

BY_HEART = 0.995
"""The train accuracy from which the images count as memorized. The loss does not show this: with the scaled logits of
ResNet-9 it was 0.05 when every image was right."""

MOST_OF_RUN = 0.5
"""The share of the planned epochs with memorized images from which a run had nothing left to learn."""


def overfitting(run: TrainingRun) -> Statement | None:
    """Reports overfitting: the train loss falls without the validation loss, or most of the run memorizes images."""
    if not gap_is_sure(run):
        return None
    return _turned_up(run) or _stays(run) or _by_heart(run)


def cycle_too_long(run: TrainingRun) -> Statement | None:
    """Reports a run whose train images are memorized for most of its epochs, without harm on the validation images."""
    known = _known_by_heart(run)
    if known is None or gap_is_sure(run) or not run.complete:
        return None
    last = run.epochs[-1]
    return Statement(
        "cycle-too-long",
        Place("epoch", known.epoch, last.epoch),
        f"{_knows(known)}: the other {last.epoch - known.epoch} epochs had nothing left to learn.",
        losses(run) | {"known_epoch": known.epoch},
        f"Train for fewer epochs, such as --epochs {known.epoch}.",
    )


def underfitting(run: TrainingRun) -> Statement | None:
    """Reports train and validation losses that end together and far from zero."""
    if not (run.complete and underfits(run)):
        return None
    last = run.epochs[-1]
    return Statement(
        "underfitting",
        Place("epoch", last.epoch, last.epoch),
        together(run),
        losses(run),
        f"Train for longer, such as --epochs {2 * run.settings.epochs}; if that changes little, use a wider network.",
    )


def _stays(run: TrainingRun) -> Statement | None:
    if not run.complete:
        return None
    reached, last = level_reached(run.epochs, LEVEL), run.epochs[-1]
    if not (_is_long_ago(run, reached) and _learned_on(run, reached)):
        return None
    text = (
        f"The validation loss reached its last level in epoch {reached.epoch}, at {in_words(reached.valid_loss)}, and "
        f"ended at {in_words(last.valid_loss)}; the train loss fell from {reached.train_loss:.3g} to "
        f"{last.train_loss:.3g}."
    )
    return _overfitting(run, text, reached)


def _turned_up(run: TrainingRun) -> Statement | None:
    """Reports a validation loss that rose: all recent losses must lie above the least one before.

    A single loss proves nothing, since the validation loss jumps while lr is high.
    """
    recent = max(TURNED_EPOCHS, math.ceil(SINCE_SHARE * run.settings.epochs))
    if len(run.epochs) <= recent:
        return None
    least, now = best_on_validation(run.epochs[:-recent]), [epoch.valid_loss for epoch in run.epochs[-recent:]]
    # These comparisons are false for a validation loss that is NaN.
    if not (all(loss >= (1 + TURNED_UP) * least.valid_loss for loss in now) and _learned_on(run, least)):
        return None
    last = run.epochs[-1]
    text = (
        f"The validation loss rose from {in_words(least.valid_loss)} in epoch {least.epoch} to "
        f"{in_words(last.valid_loss)}, and was at least {in_words(min(now))} in the last {recent} epochs; the train "
        f"loss fell from {least.train_loss:.3g} to {last.train_loss:.3g}."
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


def _known_by_heart(run: TrainingRun) -> CurveEpoch | None:
    """Returns the first epoch with memorized train images, if most of the run came after it."""
    known = next((epoch for epoch in run.epochs if epoch.train_accuracy >= BY_HEART), None)
    if known is None or run.epochs[-1].epoch - known.epoch < MOST_OF_RUN * run.settings.epochs:
        return None
    return known


def _knows(known: CurveEpoch) -> str:
    return f"The train images are memorized from epoch {known.epoch} on ({known.train_accuracy:.1%} right)"


def _is_long_ago(run: TrainingRun, epoch: CurveEpoch) -> bool:
    return run.epochs[-1].epoch - epoch.epoch >= max(SINCE_EPOCHS, SINCE_SHARE * run.settings.epochs)


def _learned_on(run: TrainingRun, since: CurveEpoch) -> bool:
    return run.excess(run.epochs[-1]) <= (1 - LEARNED_ON) * run.excess(since)


def _overfitting(run: TrainingRun, text: str, since: CurveEpoch) -> Statement:
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


def _regularize(settings: Settings, since: CurveEpoch) -> str:
    """Returns advice against overfitting: a larger lr first, then augmentation, then a larger weight decay.

    A large lr regularizes (Smith's report).
    """
    if settings.max_lr <= FAR_BELOW * settings.fitting_max_lr:
        return f"A large lr regularizes. {higher_lr(settings)}"
    if not settings.augmented:
        return "Augment: --set data.random_crop=true, and data.horizontal_flip=true if mirrored images are realistic."
    if settings.shrinkage < MOST_SHRINKAGE / 10:
        decay = MOST_SHRINKAGE / 2 / (settings.gain * settings.max_lr)
        return f"Train with a larger weight decay, such as --weight-decay {decay:.0e}."
    return f"Regularize more, with weight decay, dropout or label smoothing, or train for {since.epoch} epochs."
