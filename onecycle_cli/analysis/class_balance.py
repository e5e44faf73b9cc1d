"""How labels and answers are spread over the classes: what guessing costs, balanced accuracy, class weights. Pure.

`counts` are always images of each class, by label.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

TOP_5_CLASSES = 10
"""The number of classes from which on top-5 accuracy is reported. With fewer, guessing reaches more than a half."""

SURE = 2.5
"""The standard errors by which balanced accuracy must beat guessing. Guessing alone does so in one of 160 runs."""

NO_LUCK = 0.75
"""The share of the loss of guessing below which a validation loss is no luck. In 116 trainings on noise, scored on 20
or 40 images, the least was 0.80."""

FEW_EPOCHS, EARLY = 3, 0.9
"""In a run of so few epochs both losses below chance, or a train loss below this share of it, count as learning: its
answers may not beat guessing yet, and the statistics of batch norm lag behind. None of 36 trainings of 3 epochs on
noise had either; their least train loss was 0.97 of chance."""

UNEQUAL = 2.0
"""A largest class is worth a note from this many times the average share on."""


@dataclass(frozen=True)
class Answers:
    """The answers of a model on some images: of each class its images, how often it was answered, how often rightly."""

    images: tuple[int, ...]
    answered: tuple[int, ...]
    correct: tuple[int, ...]

    @property
    def accuracy(self) -> float:
        """The share of right answers."""
        return sum(self.correct) / sum(self.images)

    @property
    def balanced_accuracy(self) -> float:
        """The mean recall over the classes that have images (scikit-learn's `balanced_accuracy_score`)."""
        recalls = [right / images for right, images in zip(self.correct, self.images, strict=True) if images]
        return sum(recalls) / len(recalls)

    @property
    def only_answer(self) -> int | None:
        """The class that is answered for every image; None where several are, or where the images are of one class."""
        given = [label for label, times in enumerate(self.answered) if times]
        return given[0] if len(given) == 1 and sum(map(bool, self.images)) > 1 else None

    @property
    def beat_guessing(self) -> bool:
        """Whether balanced accuracy is above that of the same answers in random order, by `SURE` standard errors.

        Random answers that name class c with share p have a recall of p there, with variance p (1 - p) / images of c.
        Half an image of the smallest class is taken off: of two images, one may be found by luck.
        """
        total = sum(self.answered)
        shares = [(times / total, images) for times, images in zip(self.answered, self.images, strict=True) if images]
        guessed = sum(share for share, _ in shares) / len(shares)
        error = math.sqrt(sum(share * (1 - share) / images for share, images in shares)) / len(shares)
        half_an_image = 0.5 / min(images for _, images in shares) / len(shares)
        return self.balanced_accuracy - guessed - half_an_image > SURE * error


def balanced_weights(counts: Sequence[int]) -> list[float]:
    """A weight for each class with which all count the same: images / (classes * count); 0 for a class without images.

    As scikit-learn's `compute_class_weight("balanced")`.
    """
    return [sum(counts) / (len(counts) * count) if count else 0.0 for count in counts]


def chance(counts: Sequence[int], *, label_smoothing: float = 0.0, balanced: bool = False) -> float:
    """The least train loss of a model that gives every image the same answer: the entropy of the labels.

    With label smoothing, of the smoothed labels; with `balanced` class weights, of labels that all weigh the same.
    """
    weights = balanced_weights(counts) if balanced else [1.0] * len(counts)
    weighed = [weight * count for weight, count in zip(weights, counts, strict=True)]
    even = label_smoothing / len(counts)
    shares = [(1 - label_smoothing) * weight / sum(weighed) + even for weight in weighed]
    return -sum(share * math.log(share) for share in shares if share > 0)


def loss_of_guessing(train: Sequence[int], scored: Sequence[int]) -> float:
    """The mean loss, on images of which there are `scored` of each class, of always answering the shares in `train`.

    A class without training images counts as one image.
    """
    costs = [-math.log(max(count, 1) / sum(train)) for count in train]
    return sum(count * cost for count, cost in zip(scored, costs, strict=True)) / sum(scored)


def dominant_class(counts: Sequence[int]) -> int | None:
    """The largest class, where its share is above `UNEQUAL` times the average; None elsewhere.

    Of two classes none can have more than twice the average share, so there twice the other's share counts: two thirds.
    """
    largest = max(range(len(counts)), key=lambda label: counts[label])
    return largest if counts[largest] / sum(counts) > UNEQUAL / max(len(counts), 3) else None


@dataclass(frozen=True)
class Losses:
    """The train loss of each epoch of a training, and its last validation loss."""

    train: Sequence[float]
    valid: float


def has_learned(losses: Losses, chance: float, valid_chance: float, answers: Answers) -> bool:
    """Whether a training ended better than chance: the losses of guessing on its train and its validation images.

    Either loss has to end below chance. That alone says little: noise can be learned by heart, and a validation loss be
    lucky. So the answers on the validation images must also beat guessing, or their loss be far below it. Less is asked
    of a few epochs, which are too few to know images by heart.
    """
    trained, held = losses.train[-1] < chance, losses.valid < valid_chance
    if len(losses.train) <= FEW_EPOCHS and ((trained and held) or losses.train[-1] < EARLY * chance):
        return True
    return (trained or held) and (answers.beat_guessing or losses.valid < NO_LUCK * valid_chance)
