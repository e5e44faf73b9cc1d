"""What a diagnosis sees of a run, and what it measures on the curves.

Losses are mean cross-entropies, accuracies fractions from 0 to 1. The train loss of an epoch is the mean over its
steps, on augmented images, with dropout and label smoothing; the validation loss is that of its end, without.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from onecycle_cli.analysis import class_balance

SURE = 3.0
"""Standard errors that a difference of accuracies has to have."""

UNFITTED = 0.1
"""The share of the loss of guessing from which on the train images count as not learned. Runs that were cut short or
held back ended at 0.12 and more, those that learned their images at 0.01 and less."""

TOGETHER = 0.1
"""The validation loss is at most this share above the train loss where both are together. Runs held back had 0.02 at
most (it is mostly below: the train loss is seen on augmented images, before the epoch's end), others 0.24 and more."""

USUAL_GAIN = 1 / (1 - 0.85)
"""How far the usual momentum at the peak carries a step of SGD."""


@dataclass(frozen=True)
class Step:
    """A row of `steps.csv`, as far as it is looked at."""

    step: int
    lr: float
    train_loss: float


@dataclass(frozen=True)
class Epoch:
    """A row of `epochs.csv`; `lr` is that of its last step."""

    epoch: int
    lr: float
    train_loss: float
    train_accuracy: float
    valid_loss: float
    valid_accuracy: float


@dataclass(frozen=True)
class Settings:
    """What was planned, and what it was trained on.

    `single_cycle`: one cycle goes over the whole run, with no stages and no other policy. `tail_share` is the share of
    the steps after the cycle, with lr below the first one and a tenth of the peak. `gain` is how far the momentum at
    the peak carries a step: 1 / (1 - momentum) for SGD, 1 for AdamW. `suggested_max_lr` is a range test's, where there
    is one; `usual_max_lr` is what the optimizer's best ones are like. `balanced_classes`: the train loss has balanced
    class weights. `train_counts` and `valid_counts` are the images of each class; empty where they are not known, as of
    an older run, and then all classes count as equal.
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
        """The suggested max_lr; the usual one where nothing is suggested."""
        return self.suggested_max_lr or self.usual_max_lr

    @property
    def chance(self) -> float:
        """The train loss of a network that has learned nothing, and answers with the shares of the classes."""
        counts = self.train_counts or [1] * self.classes
        return class_balance.chance(counts, label_smoothing=self.label_smoothing, balanced=self.balanced_classes)

    @property
    def valid_chance(self) -> float:
        """The validation loss of the shares that the classes have among the training images."""
        if not (self.train_counts and self.valid_counts):
            return math.log(self.classes)
        return class_balance.loss_of_guessing(self.train_counts, self.valid_counts)

    @property
    def least_train_loss(self) -> float:
        """The entropy of the smoothed labels, below which no train loss falls; 0 without label smoothing."""
        other = self.label_smoothing / self.classes
        right = 1 - self.label_smoothing + other
        return -sum(share * math.log(share) for share in (right, *[other] * (self.classes - 1)) if share > 0)

    @property
    def unsure_loss(self) -> float:
        """What right answers cost that are as unsure as the smoothed labels; 0 without label smoothing."""
        return -math.log(1 - self.label_smoothing + self.label_smoothing / self.classes)

    @property
    def shrinkage(self) -> float:
        """The share of the weights that the weight decay takes in a step at the peak."""
        return self.gain * self.max_lr * self.weight_decay

    @property
    def fitting_shrinkage(self) -> float:
        """The same at the fitting max_lr, and with the usual momentum where it is more: the weight decay's own part."""
        return min(self.gain, USUAL_GAIN) * self.fitting_max_lr * self.weight_decay


@dataclass(frozen=True)
class TrainingRun:
    """A run as far as it came; `status` is that of `run.json`."""

    status: str
    settings: Settings
    steps: Sequence[Step]
    epochs: Sequence[Epoch]

    @property
    def complete(self) -> bool:
        """Whether the last planned epoch is there: before, nothing is said on how the run ends."""
        return bool(self.epochs) and self.epochs[-1].epoch == self.settings.epochs

    def excess(self, epoch: Epoch) -> float:
        """How far the train loss is above the least one there could be."""
        return epoch.train_loss - self.settings.least_train_loss

    def near_peak(self) -> list[Epoch]:
        """The epochs that ended with lr at half of the peak or more."""
        return [epoch for epoch in self.epochs if epoch.lr >= 0.5 * self.settings.max_lr]


def longest_stall(run: TrainingRun) -> tuple[Epoch, Epoch] | None:
    """The two epochs near the peak furthest apart between which the train loss has not fallen; None: it always has."""
    near = run.near_peak()
    ways = [(a, b) for i, a in enumerate(near) for b in near[i + 1 :] if not b.train_loss < a.train_loss]
    return max(ways, key=lambda way: way[1].epoch - way[0].epoch, default=None)


def falls_always(epochs: Sequence[Epoch]) -> bool:
    """Whether the validation loss fell in each of the epochs."""
    return all(after.valid_loss < before.valid_loss for before, after in pairwise(epochs))


def best_on_validation(epochs: Sequence[Epoch]) -> Epoch:
    """The first epoch of the least validation loss; one that is nan is above any other."""
    return min(epochs, key=lambda epoch: math.inf if math.isnan(epoch.valid_loss) else epoch.valid_loss)


def level_reached(epochs: Sequence[Epoch], within: float) -> Epoch:
    """The first epoch whose validation loss is the last one's, or less, give or take a share of `within`."""
    level = (1 + within) * epochs[-1].valid_loss
    return next((epoch for epoch in epochs if epoch.valid_loss <= level), epochs[-1])  # a nan is no level


def standard_error(accuracy: float, images: int) -> float:
    """Of an accuracy on so many images: that of a binomial share."""
    return math.sqrt(accuracy * (1 - accuracy) / images)


def gap_is_sure(run: TrainingRun) -> bool:
    """Whether the last train accuracy is above the validation accuracy by more than noise."""
    last = run.epochs[-1]
    error = standard_error(last.valid_accuracy, run.settings.valid_images)
    return last.train_accuracy - last.valid_accuracy > SURE * error


def underfits(run: TrainingRun) -> bool:
    """Whether train and validation loss are together, far from zero. Label smoothing's own part does not count."""
    last = run.epochs[-1]
    excess = run.excess(last)
    return excess > UNFITTED * run.settings.chance and last.valid_loss < (1 + TOGETHER) * excess
