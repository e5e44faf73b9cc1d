"""Class balance of labels and predictions: the loss of guessing, balanced accuracy, class weights. Pure.

`counts` are the numbers of images per class, indexed by label.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

TOP_5_CLASSES = 10
"""The fewest classes for which top-5 accuracy is reported. With fewer, guessing is right more than half of the time."""

SURE = 2.5
"""The number of standard errors by which balanced accuracy must beat guessing. Guessing alone does so in one of 160
runs."""

NO_LUCK = 0.75
"""The share of the loss of guessing below which a validation loss is not due to luck. In 116 trainings on noise, scored
on 20 or 40 images, the least share was 0.80."""

FEW_EPOCHS, EARLY = 3, 0.9
"""The number of epochs up to which a run counts as short, and the share of chance below which its train loss shows
learning. In a short run, both losses below chance, or a train loss below this share, count as learning: its predictions
may not beat guessing yet, and batch-norm statistics lag behind. None of 36 trainings of 3 epochs on noise had either;
their least train loss was 0.97 of chance."""

UNEQUAL = 2.0
"""The multiple of the average share above which the largest class is reported as dominant."""


@dataclass(frozen=True)
class Answers:
    """A model's predictions on a set of images, counted per class.

    `images` are the images of each class, `answered` how often each class was predicted, `correct` how often rightly.
    """

    images: tuple[int, ...]
    answered: tuple[int, ...]
    correct: tuple[int, ...]

    @property
    def accuracy(self) -> float:
        """The fraction of images that are classified correctly."""
        return sum(self.correct) / sum(self.images)

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall over the classes that have images (scikit-learn's `balanced_accuracy_score`)."""
        recalls = [right / images for right, images in zip(self.correct, self.images, strict=True) if images]
        return sum(recalls) / len(recalls)

    @property
    def only_answer(self) -> int | None:
        """The class predicted for every image; None if several are predicted, or if all images are of one class."""
        given = [label for label, times in enumerate(self.answered) if times]
        return given[0] if len(given) == 1 and sum(map(bool, self.images)) > 1 else None

    @property
    def beat_guessing(self) -> bool:
        """Whether balanced accuracy beats that of the same predictions in random order by `SURE` standard errors.

        Random predictions that name class c with probability p have a recall of p on that class, with variance
        p (1 - p) / n for its n images. Half an image of the smallest class is subtracted first: of two images, one may
        be right by luck.
        """
        total = sum(self.answered)
        shares = [(times / total, images) for times, images in zip(self.answered, self.images, strict=True) if images]
        guessed = sum(share for share, _ in shares) / len(shares)
        error = math.sqrt(sum(share * (1 - share) / images for share, images in shares)) / len(shares)
        half_an_image = 0.5 / min(images for _, images in shares) / len(shares)
        return self.balanced_accuracy - guessed - half_an_image > SURE * error


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """Returns class weights that give all classes equal influence: images / (classes * count); 0 for an empty class.

    Formula: scikit-learn's `compute_class_weight("balanced")`.
    """
    return [sum(counts) / (len(counts) * count) if count else 0.0 for count in counts]


def chance(counts: Sequence[int], *, label_smoothing: float = 0.0, balanced: bool = False) -> float:
    """Returns the least train loss of a model that gives every image the same prediction: the entropy of the labels.

    `label_smoothing` smooths the labels first; `balanced` weights the classes with `balanced_weights`.
    """
    weights = balanced_weights(counts) if balanced else [1.0] * len(counts)
    weighed = [weight * count for weight, count in zip(weights, counts, strict=True)]
    even = label_smoothing / len(counts)
    shares = [(1 - label_smoothing) * weight / sum(weighed) + even for weight in weighed]
    return -sum(share * math.log(share) for share in shares if share > 0)


def loss_of_guessing(train: Sequence[int], scored: Sequence[int]) -> float:
    """Returns the mean loss of always predicting the class shares of `train` on images with the class counts `scored`.

    A class without training images counts as having one image.
    """
    costs = [-math.log(max(count, 1) / sum(train)) for count in train]
    return sum(count * cost for count, cost in zip(scored, costs, strict=True)) / sum(scored)


def dominant_class(counts: Sequence[int]) -> int | None:
    """Returns the largest class if its share is above `UNEQUAL` times the average share, else None.

    With two classes no share is above twice the average, so the limit is twice the other class's share: two thirds.
    """
    largest = max(range(len(counts)), key=lambda label: counts[label])
    return largest if counts[largest] / sum(counts) > UNEQUAL / max(len(counts), 3) else None


@dataclass(frozen=True)
class Losses:
    """The train loss of each epoch of a training run, and its last validation loss."""

    train: Sequence[float]
    valid: float


def has_learned(losses: Losses, chance: float, valid_chance: float, answers: Answers) -> bool:
    """Whether a training run ended better than guessing, given the train and validation loss of guessing.

    Either loss must end below chance. That alone proves little: a network can memorize noise, and a validation loss can
    be low by luck. So the validation predictions must also beat guessing, or the validation loss must be far below
    chance. Runs of at most `FEW_EPOCHS` epochs meet weaker conditions: they are too short to memorize images.
    """
    trained, held = losses.train[-1] < chance, losses.valid < valid_chance
    if len(losses.train) <= FEW_EPOCHS and ((trained and held) or losses.train[-1] < EARLY * chance):
        return True
    return (trained or held) and (answers.beat_guessing or losses.valid < NO_LUCK * valid_chance)
