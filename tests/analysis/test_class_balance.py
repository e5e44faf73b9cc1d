"""Shares of classes, the loss of guessing, balanced accuracy and class weights, against scikit-learn and torch."""

import math

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score
from sklearn.utils.class_weight import compute_class_weight

from onecycle_cli.analysis.class_balance import (
    Answers,
    Losses,
    balanced_weights,
    chance,
    dominant_class,
    has_learned,
    loss_of_guessing,
)

UNEQUAL = (190, 10)


def answers_of(labels: np.ndarray, answered: np.ndarray, classes: int) -> Answers:
    counts = (np.bincount(one, minlength=classes) for one in (labels, answered, labels[labels == answered]))
    return Answers(*(tuple(count.tolist()) for count in counts))


def test_balanced_accuracy_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    labels, answered = generator.integers(0, 3, 50), generator.integers(0, 3, 50)
    answers = answers_of(labels, answered, classes=3)
    assert answers.balanced_accuracy == pytest.approx(balanced_accuracy_score(labels, answered))
    assert answers.accuracy == (labels == answered).mean()


def test_a_class_without_images_does_not_count_in_balanced_accuracy() -> None:
    assert Answers((4, 0, 2), (3, 1, 2), (2, 0, 2)).balanced_accuracy == 0.75


def test_balanced_weights_are_those_of_scikit_learn() -> None:
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    theirs = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    assert balanced_weights([60, 30, 10]) == pytest.approx(theirs.tolist())


def test_a_class_without_training_images_has_no_weight() -> None:
    assert balanced_weights([6, 0]) == [0.5, 0.0]


def test_chance_is_the_entropy_of_the_shares() -> None:
    assert chance(UNEQUAL) == pytest.approx(0.1985, abs=1e-4)
    assert chance([7] * 10) == pytest.approx(math.log(10))
    assert chance([5, 0]) == 0


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.5])
@pytest.mark.parametrize("balanced", [False, True])
def test_the_same_answer_for_all_images_has_at_least_the_loss_of_chance(smoothing: float, balanced: bool) -> None:
    import torch
    from torch.nn import functional as F

    counts = (60, 30, 10)
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(counts))
    weights = torch.tensor(balanced_weights(counts) if balanced else [1.0] * 3)[labels]
    answer = torch.zeros(3, requires_grad=True)
    descent = torch.optim.LBFGS([answer], max_iter=100, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        descent.zero_grad()
        each = F.cross_entropy(answer.expand(100, 3), labels, label_smoothing=smoothing, reduction="none")
        mean = (weights * each).sum() / weights.sum()
        mean.backward()
        return mean

    descent.step(loss)
    assert chance(counts, label_smoothing=smoothing, balanced=balanced) == pytest.approx(loss().item(), abs=1e-5)


def test_guessing_is_judged_on_the_images_that_are_scored() -> None:
    assert loss_of_guessing(UNEQUAL, (38, 2)) == pytest.approx(chance(UNEQUAL))
    assert loss_of_guessing(UNEQUAL, (1, 1)) == pytest.approx(-(math.log(0.95) + math.log(0.05)) / 2)
    assert loss_of_guessing((9, 0), (0, 1)) == pytest.approx(math.log(9))


@pytest.mark.parametrize(
    ("counts", "largest"),
    [((190, 10), 0), ((2, 4), None), ((2, 5), 1), ((60, 30, 10), None), ((68, 22, 10), 0), ([21] + [10] * 9, None)],
)
def test_a_class_is_dominant_from_twice_the_average_share_on(counts: list[int], largest: int | None) -> None:
    assert dominant_class(counts) == largest


@pytest.mark.parametrize(
    ("answers", "only"),
    [
        (Answers((3, 2), (5, 0), (3, 0)), 0),
        (Answers((3, 2), (0, 5), (0, 2)), 1),
        (Answers((3, 2), (4, 1), (3, 1)), None),
        (Answers((5, 0), (5, 0), (5, 0)), None),  # what else should it answer
    ],
)
def test_the_only_answer_is_told_where_there_are_images_of_several_classes(answers: Answers, only: int | None) -> None:
    assert answers.only_answer == only


def test_random_answers_hardly_ever_beat_guessing_and_right_ones_do() -> None:
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    lucky = sum(answers_of(labels, generator.permutation(labels), 3).beat_guessing for _ in range(1000))
    assert lucky < 10
    assert answers_of(labels, labels, 3).beat_guessing
    assert not Answers((38, 2), (40, 0), (38, 0)).beat_guessing
    assert not Answers((38, 2), (39, 1), (38, 1)).beat_guessing  # one of 20 does so by luck


ONE_ANSWER = Answers((38, 2), (40, 0), (38, 0))
GOOD = Answers((38, 2), (38, 2), (38, 2))


@pytest.mark.parametrize(
    ("train", "valid", "answers", "learned"),
    [
        ([0.3, 0.25, 0.21, 0.1], 0.35, ONE_ANSWER, False),  # by heart
        ([0.3, 0.25, 0.21, 0.19], 0.19, ONE_ANSWER, False),  # by luck
        ([0.3, 0.25, 0.21, 0.21], 0.21, GOOD, False),
        ([0.3, 0.25, 0.21, 0.1], 0.35, GOOD, True),  # unsure answers, but right ones
        ([0.3, 0.25, 0.21, 0.21], 0.1, GOOD, True),  # with dropout
        ([0.3, 0.25, 0.21, 0.1], 0.1, ONE_ANSWER, True),  # the rare class is not answered yet, but more likely
        ([0.3, 0.197], 0.197, ONE_ANSWER, True),  # few epochs: it begins to learn
        ([0.3, 0.19], 0.2, ONE_ANSWER, False),
        ([0.3, 0.1], 0.9, ONE_ANSWER, True),  # few epochs: batch norm's statistics are not there yet
        ([0.3, 0.1, 0.3], 0.9, ONE_ANSWER, False),  # lost again
        ([0.3, 0.1, 0.1, 0.1], 0.9, ONE_ANSWER, False),  # by now they should be
        ([0.3, 0.25, 0.21, 0.19], 0.16, ONE_ANSWER, False),  # by luck
        ([0.3, 0.1], math.nan, GOOD, True),
    ],
)
def test_learned_is_what_is_below_chance_and_no_luck(
    train: list[float], valid: float, answers: Answers, learned: bool
) -> None:
    assert has_learned(Losses(train, valid), chance(UNEQUAL), chance(UNEQUAL), answers) is learned
