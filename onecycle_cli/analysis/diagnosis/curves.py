"""Curves and settings of a training run, and measurements on them.

Losses are mean cross-entropies, accuracies fractions from 0 to 1. The train loss of an epoch is the mean over its
steps, on augmented images, with dropout and label smoothing. The validation loss is measured at the end of the epoch,
without them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from onecycle_cli.analysis import class_balance

SURE = 3.0
"""The number of standard errors above which a difference of accuracies counts as significant."""

UNFITTED = 0.1
"""The share of the loss of guessing above which the train images count as not learned. Runs that were cut short or held
back ended at 0.12 and more, runs that learned their images at 0.01 and less."""

TOGETHER = 0.1
"""The relative difference up to which a validation loss above the train loss counts as together with it. Runs held back
had 0.02 at most (their validation loss is mostly below the train loss, which is measured on augmented images, before
the end of the epoch), others 0.24 and more."""

USUAL_GAIN = 1 / (1 - 0.85)
"""The gain of the usual momentum at the peak, 0.85, on a step of SGD."""


@dataclass(frozen=True)
class CurveStep:
    """The columns of a row of `steps.csv` that a diagnosis uses."""

    step: int
    lr: float
    train_loss: float


@dataclass(frozen=True)
class CurveEpoch:
    """The columns of a row of `epochs.csv` that a diagnosis uses; `lr` is that of the epoch's last step."""

    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float
    valid_loss: float
    valid_accuracy: float


@dataclass(frozen=True)
class Settings:
    """The settings of a training run, and facts about its data.

    `single_cycle` is true if one cycle covers the whole run, without stages or another policy. `tail_share` is the
    share of the steps after the cycle, with lr below the first lr and below a tenth of the peak. `gain` is the factor
    by which the momentum at the peak lengthens a step: 1 / (1 - momentum) for SGD, 1 for AdamW. `suggested_max_lr` is
    that of a range test; None without one. `usual_max_lr` is typical of the optimizer. `balanced_classes` is true if
    the train loss has balanced class weights. `train_counts` and `valid_counts` are the images per class; if empty, as
    for a run of an older version, all classes count as equal.
    """

    single_cycle: bool
    epochs: int
    max_lr: float
    usual_max_lr: float
    suggested_max_lr: float | None
    tail_share: float
    gain: float
    weight_decay: float
    label_smoothing: float
    dropout: float
    augmented: bool
    classes: int
    valid_images: int
    balanced_classes: bool = False
    train_counts: Sequence[int] = ()
    valid_counts: Sequence[int] = ()

    @property
    def fitting_max_lr(self) -> float:
        """The suggested max_lr; the usual one if there is no suggestion."""
        return self.suggested_max_lr or self.usual_max_lr

    @property
    def chance(self) -> float:
        """The train loss of a network that has learned nothing and predicts the shares of the classes."""
        counts = self.train_counts or [1] * self.classes
        return class_balance.chance(counts, label_smoothing=self.label_smoothing, balanced=self.balanced_classes)

    @property
    def valid_chance(self) -> float:
        """The validation loss of predicting the shares of the classes in the training images."""
        if not (self.train_counts and self.valid_counts):
            return math.log(self.classes)
        return class_balance.loss_of_guessing(self.train_counts, self.valid_counts)

    @property
    def least_train_loss(self) -> float:
        """The entropy of the smoothed labels, the lower bound of the train loss; 0 without label smoothing."""
        other = self.label_smoothing / self.classes
        right = 1 - self.label_smoothing + other
        return -sum(share * math.log(share) for share in (right, *[other] * (self.classes - 1)) if share > 0)

    @property
    def unsure_loss(self) -> float:
        """The loss of correct predictions that are as uncertain as the smoothed labels; 0 without label smoothing."""
        return -math.log(1 - self.label_smoothing + self.label_smoothing / self.classes)

    @property
    def shrinkage(self) -> float:
        """The share of the weights that weight decay removes in one step at the peak."""
        return self.gain * self.max_lr * self.weight_decay

    @property
    def fitting_shrinkage(self) -> float:
        """The `shrinkage` at the fitting max_lr, with the gain limited to `USUAL_GAIN`.

        Shows the effect of weight decay alone, without that of an unusual max_lr or momentum.
        """
        return min(self.gain, USUAL_GAIN) * self.fitting_max_lr * self.weight_decay


@dataclass(frozen=True)
class TrainingRun:
    """A training run up to its last recorded step; `status` is that of `run.json`."""

    status: str
    settings: Settings
    steps: Sequence[CurveStep]
    epochs: Sequence[CurveEpoch]

    @property
    def complete(self) -> bool:
        """Whether the last planned epoch is recorded; without it, rules about the end of a run are skipped."""
        return bool(self.epochs) and self.epochs[-1].epoch == self.settings.epochs

    def excess(self, epoch: CurveEpoch) -> float:
        """Returns the train loss of the epoch minus its lower bound, `least_train_loss`."""
        return epoch.train_loss - self.settings.least_train_loss

    def near_peak(self) -> list[CurveEpoch]:
        """Returns the epochs that ended with lr at half of the peak or more."""
        return [epoch for epoch in self.epochs if epoch.lr >= 0.5 * self.settings.max_lr]


def longest_stall(run: TrainingRun) -> tuple[CurveEpoch, CurveEpoch] | None:
    """Returns the first and last epoch of the longest span near the peak without a fall of the train loss, or None."""
    near = run.near_peak()
    ways = [(a, b) for i, a in enumerate(near) for b in near[i + 1 :] if not b.train_loss < a.train_loss]
    return max(ways, key=lambda way: way[1].epoch - way[0].epoch, default=None)


def falls_always(epochs: Sequence[CurveEpoch]) -> bool:
    """Whether the validation loss fell from each of the epochs to the next."""
    return all(after.valid_loss < before.valid_loss for before, after in pairwise(epochs))


def best_on_validation(epochs: Sequence[CurveEpoch]) -> CurveEpoch:
    """Returns the first epoch with the least validation loss; NaN counts as infinite."""
    return min(epochs, key=lambda epoch: math.inf if math.isnan(epoch.valid_loss) else epoch.valid_loss)


def level_reached(epochs: Sequence[CurveEpoch], within: float) -> CurveEpoch:
    """Returns the first epoch whose validation loss is at most `1 + within` times the last one."""
    level = (1 + within) * epochs[-1].valid_loss
    return next((epoch for epoch in epochs if epoch.valid_loss <= level), epochs[-1])  # a NaN loss has no level


def standard_error(accuracy: float, images: int) -> float:
    """Returns the standard error of an accuracy on so many images: `sqrt(p (1 - p) / n)` of a binomial share."""
    return math.sqrt(accuracy * (1 - accuracy) / images)


def gap_is_sure(run: TrainingRun) -> bool:
    """Whether the last train accuracy is above the validation accuracy by more than `SURE` standard errors."""
    last = run.epochs[-1]
    error = standard_error(last.valid_accuracy, run.settings.valid_images)
    return last.train_accuracy - last.valid_accuracy > SURE * error


def underfits(run: TrainingRun) -> bool:
    """Whether train and validation loss end together, far from zero.

    The lower bound of the train loss, which label smoothing raises, is subtracted.
    """
    last = run.epochs[-1]
    excess = run.excess(last)
    return excess > UNFITTED * run.settings.chance and last.valid_loss < (1 + TOGETHER) * excess
