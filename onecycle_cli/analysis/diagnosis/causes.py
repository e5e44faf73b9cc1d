"""Rules that name a cause: a failed run, or an unsuitable lr, weight decay, dropout, label smoothing or tail.

docs/diagnose.md describes how the thresholds were found, on which runs they were tested, and what no rule can detect.
"""

import math

from onecycle_cli.analysis.diagnosis.curves import (
    SURE,
    Settings,
    TrainingRun,
    best_on_validation,
    falls_always,
    gap_is_sure,
    longest_stall,
    standard_error,
    underfits,
)
from onecycle_cli.analysis.diagnosis.statement import (
    Place,
    Statement,
    higher_lr,
    in_words,
    losses,
    lower_lr,
    together,
)
from onecycle_cli.analysis.weight_decay import MOST_SHRINKAGE

STALL_SHARE, STALL_EPOCHS = 0.2, 3
"""The share of the planned epochs, and the number of epochs, that a stall lasts at least. Runs with a far too large lr
or weight decay stalled for 0.33 to 0.47 of their epochs, healthy runs for 0.07 at most (one epoch of 15), saturated
runs for 0.18."""

HEAVY = 3 * MOST_SHRINKAGE
"""The share of the weights removed per step above which a weight decay counts as too large. From there on it cost four
points and more: see `MOST_SHRINKAGE`."""

FAR_BELOW = 1 / 3
"""The fraction of the fitting max_lr up to which a max_lr counts as far too small. Above that the choice costs little
on most tasks of docs/suggestion.md."""

CALM_EPOCHS = 6
"""The fewest epochs near the peak for a calm descent, in which each validation loss is below the one before. In healthy
runs the loss rose in one of seven or more epochs, which is close: so max_lr must be far too small as well."""

DROPOUT_GAP = 0.05
"""The gap of validation over train accuracy, as a mean of three epochs, above which dropout counts as too strong.
Dropout of 0.8 and 0.9 made gaps of 0.07 and 0.35, augmentation alone 0.02 on the same images."""

SMOOTHED_LOSS, SMOOTHED_SHARE = 0.3, 0.4
"""The loss of predictions as uncertain as the smoothed labels, and its share of the validation loss, from which label
smoothing is reported. Label smoothing of 0.1 over ten classes makes a loss of 0.09, of 0.3 a loss of 0.31."""

LONG_TAIL = 0.3
"""The share of the run from which a tail counts as long. The published run with a tail of 0.5 lost a point against the
run with 0.14 (docs/diagnose.md)."""

TAIL_GAIN, TAIL_FALL = 0.25, 0.2
"""The limits for the last half of a tail that is too long: the train loss falls by more than the share `TAIL_FALL`, and
the validation loss by less than `TAIL_GAIN` times that share. The run that showed this had a fall of 0.22, and 0.23
times that."""

TAIL_RATIO = 0.05
"""The ratio of train to validation loss below which a tail ends with memorized images; the published run had 0.013."""


def diverged(run: TrainingRun) -> Statement | None:
    """Reports a run whose train loss became infinite or NaN."""
    if run.status != "diverged" or not run.steps:
        return None
    last, max_lr = run.steps[-1], run.settings.max_lr
    return Statement(
        "diverged",
        Place("step", last.step, last.step),
        f"The train loss is not finite from this step on, at lr {last.lr:.3g} in a cycle up to {max_lr:g}.",
        {"step": last.step, "lr": last.lr, "max_lr": max_lr},
        lower_lr(run.settings),
    )


def collapsed(run: TrainingRun) -> Statement | None:
    """Reports a run that ended no better than chance: unlearned, never learned, or learned only its train images."""
    if run.status != "collapsed" or not run.epochs:
        return None
    settings, last = run.settings, run.epochs[-1]
    best = min(run.epochs, key=lambda epoch: epoch.train_loss)
    place = Place("epoch", best.epoch, last.epoch)
    text = f"The train loss ended at {last.train_loss:.3g}, no better than chance ({settings.chance:.3g})."
    evidence = losses(run) | {"least_train_loss": best.train_loss, "max_lr": settings.max_lr}
    advice = lower_lr(settings)
    if last.train_loss < settings.chance:
        best = best_on_validation(run.epochs)
        place = Place("epoch", best.epoch, last.epoch)
        text = (
            f"The network learned nothing that helps on the validation images: their loss ended at "
            f"{in_words(last.valid_loss)} (guessing: {settings.valid_chance:.3g}), and the predictions are no better "
            f"than chance. The train loss ended at {last.train_loss:.3g} (guessing: {settings.chance:.3g})."
        )
        evidence |= {"valid_chance": settings.valid_chance, "least_valid_loss": best.valid_loss}
        if math.isfinite(last.valid_loss):
            advice = "Check that the labels match the images; if they do, train on more images, or for longer."
    if settings.fitting_shrinkage > HEAVY:
        return Statement("collapsed", place, f"{text} {_decay(settings)}", evidence, _decay_less(settings))
    if _is_far_below(settings):
        return Statement("lr-too-small", place, f"{text} {_max_lr(settings)}", evidence, higher_lr(settings))
    return Statement("collapsed", place, text, evidence, advice)


def stalled(run: TrainingRun) -> Statement | None:
    """Reports a train loss that does not fall for many epochs near the peak: lr or weight decay is too large.

    In a network with batch norm both have the same effect, since their product sets the step size relative to the
    weights. The rule names weight decay if it would be too large at the fitting max_lr too.
    """
    settings, stall = run.settings, longest_stall(run)
    if stall is None:
        return None
    first, last = stall
    epochs = last.epoch - first.epoch
    if epochs < max(STALL_EPOCHS, STALL_SHARE * settings.epochs):
        return None
    place = Place("epoch", first.epoch, last.epoch)
    text = (
        f"Around the peak of lr the train loss did not fall for {epochs} of {settings.epochs} epochs: "
        f"it was {first.train_loss:.3g} before and {last.train_loss:.3g} after."
    )
    evidence = {
        "first_train_loss": first.train_loss,
        "last_train_loss": last.train_loss,
        "share_of_epochs": epochs / settings.epochs,
        "max_lr": settings.max_lr,
        "fitting_max_lr": settings.fitting_max_lr,
        "shrinkage": settings.shrinkage,
    }
    if settings.fitting_shrinkage > HEAVY:
        text = f"{text} {_decay(settings)}"
        return Statement("weight-decay-too-large", place, text, evidence, _decay_less(settings))
    if settings.max_lr > settings.fitting_max_lr:
        return Statement("lr-too-large", place, f"{text} {_max_lr(settings)}", evidence, lower_lr(settings))
    return None


def decays_too_much(run: TrainingRun) -> Statement | None:
    """Reports underfitting that the weight decay alone explains."""
    last, settings = run.epochs[-1], run.settings
    if settings.fitting_shrinkage <= HEAVY or not (run.complete and underfits(run)) or stalled(run):
        return None
    return Statement(
        "weight-decay-too-large",
        Place("epoch", last.epoch, last.epoch),
        f"{together(run)} {_decay(settings)}",
        losses(run) | {"shrinkage": settings.shrinkage},
        _decay_less(settings),
    )


def lr_too_small(run: TrainingRun) -> Statement | None:
    """Reports an lr that is too small: the validation loss falls calmly near the peak, and max_lr is far below a fit.

    With a suitable lr, the validation loss jumps from epoch to epoch while lr is high. The run must also underfit.
    """
    settings, near = run.settings, run.near_peak()
    if len(near) < CALM_EPOCHS or not (_is_far_below(settings) and falls_always(near) and underfits(run)):
        return None
    first, last = near[0], near[-1]
    return Statement(
        "lr-too-small",
        Place("epoch", first.epoch, last.epoch),
        f"Around the peak of lr the validation loss fell in each epoch, from {in_words(first.valid_loss)} to "
        f"{in_words(last.valid_loss)}; with a suitable lr it jumps from epoch to epoch. {together(run)} "
        f"{_max_lr(settings)}",
        losses(run) | {"falls": len(near) - 1, "max_lr": settings.max_lr, "fitting_max_lr": settings.fitting_max_lr},
        higher_lr(settings),
    )


def dropout_too_strong(run: TrainingRun) -> Statement | None:
    """Reports dropout that is too strong: validation accuracy far above train accuracy, and underfitting."""
    last, settings, end = run.epochs[-1], run.settings, run.epochs[-3:]
    if settings.dropout == 0 or not (run.complete and underfits(run)):
        return None
    gap = sum(epoch.valid_accuracy - epoch.train_accuracy for epoch in end) / len(end)
    if gap <= max(DROPOUT_GAP, SURE * standard_error(last.valid_accuracy, settings.valid_images)):
        return None
    return Statement(
        "regularization-too-strong",
        Place("epoch", end[0].epoch, last.epoch),
        f"With dropout {settings.dropout:g} the train accuracy is {100 * gap:.1f} points below the validation "
        f"accuracy, which is measured without dropout. {together(run)}",
        losses(run) | {"accuracy_gap": -gap, "dropout": settings.dropout},
        f"Train with half the dropout: --set model.dropout={settings.dropout / 2:g}.",
    )


def smoothing_too_strong(run: TrainingRun) -> Statement | None:
    """Reports label smoothing that is too strong: much of the validation loss comes from uncertain predictions."""
    last, settings = run.epochs[-1], run.settings
    unsure = settings.unsure_loss
    # A validation loss that is not finite has no share.
    share_is_known = run.complete and math.isfinite(last.valid_loss)
    if not (share_is_known and unsure >= SMOOTHED_LOSS and unsure >= SMOOTHED_SHARE * last.valid_loss):
        return None
    return Statement(
        "regularization-too-strong",
        Place("epoch", last.epoch, last.epoch),
        f"Label smoothing {settings.label_smoothing:g} makes even correct predictions so uncertain that they add "
        f"{unsure:.3g} to the validation loss of {last.valid_loss:.3g}.",
        losses(run) | {"unsure_loss": unsure, "label_smoothing": settings.label_smoothing},
        "Train with less label smoothing: --set optimizer.label_smoothing=0.1.",
    )


def tail_too_long(run: TrainingRun) -> Statement | None:
    """Reports a tail that is too long: the network memorizes the train images without learning what generalizes."""
    settings, last = run.settings, run.epochs[-1]
    if not run.complete or settings.tail_share < LONG_TAIL:
        return None
    first = next(epoch for epoch in run.epochs if epoch.epoch >= settings.epochs * (1 - settings.tail_share / 2))
    train_fell, valid_fell = _fall(first.train_loss, last.train_loss), _fall(first.valid_loss, last.valid_loss)
    if last.train_loss < TAIL_RATIO * last.valid_loss:
        found = (
            f"it ends with the train images memorized: train loss {last.train_loss:.2g}, "
            f"validation loss {in_words(last.valid_loss)}"
        )
    elif train_fell > TAIL_FALL and valid_fell < TAIL_GAIN * train_fell and gap_is_sure(run):
        found = f"in its last half the train loss fell by {train_fell:.0%}, the validation loss by {valid_fell:.0%}"
    else:
        return None
    return Statement(
        "tail-too-long",
        Place("epoch", first.epoch, last.epoch),
        f"The tail, with lr below its initial value, takes {settings.tail_share:.0%} of the run, and {found}.",
        losses(run) | {"tail_share": settings.tail_share, "train_fell": train_fell, "valid_fell": valid_fell},
        "Cycle for longer: in shape blog, schedule.pct_start=0.43 leaves a tail of 14 %.",
    )


def _fall(before: float, after: float) -> float:
    """Returns the share by which a loss fell; 0 if it was zero before."""
    return 1 - after / before if before else 0.0


def _is_far_below(settings: Settings) -> bool:
    return settings.max_lr <= FAR_BELOW * settings.fitting_max_lr


def _max_lr(settings: Settings) -> str:
    source = "the range test suggests" if settings.suggested_max_lr else "the usual value is"
    return f"max_lr is {settings.max_lr:g}; {source} {settings.fitting_max_lr:g}."


def _decay(settings: Settings) -> str:
    return (
        f"Weight decay {settings.weight_decay:g} removes {settings.shrinkage:.1%} of the weights in one step at the "
        f"peak, and would remove {settings.fitting_shrinkage:.1%} at max_lr {settings.fitting_max_lr:g}; more than "
        f"{HEAVY:.1%} is too much."
    )


def _decay_less(settings: Settings) -> str:
    fitting = settings.weight_decay * MOST_SHRINKAGE / settings.fitting_shrinkage
    return f"Train with a smaller weight decay, such as --weight-decay {fitting:.0e}."
