"""What is said of a training when it has ended; the runs themselves are in test_training.py."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from onecycle_cli.analysis.class_balance import Answers
from onecycle_cli.experiments.checkpoints import Epoch
from onecycle_cli.experiments.diagnose import planned
from onecycle_cli.experiments.training_summary import status_of
from onecycle_cli.recipe import Recipe
from onecycle_cli.training.step_blocks import LoggedStep

GUESSES = Answers((38, 2), (40, 0), (38, 0))
GOOD = Answers((38, 2), (38, 2), (38, 2))


def step(loss: float) -> LoggedStep:
    return LoggedStep(9, 1, 0.1, 0.9, loss)


def epoch(loss: float) -> Epoch:
    return Epoch(1, 9, 0.1, 0.9, loss, 0.5, 1.2, 0.4, 3.0, 100.0)


@pytest.mark.parametrize(
    ("last", "mean", "answers", "status"),
    [
        (math.nan, 0.5, GOOD, "diverged"),
        (math.inf, 0.5, None, "diverged"),
        (0.3, 0.15, GOOD, "finished"),
        (0.3, 0.2, GOOD, "collapsed"),
        (0.3, 0.19, GOOD, "finished"),
        (0.3, 0.19, GUESSES, "collapsed"),
    ],
)
def test_the_status_follows_from_the_last_step_and_the_shares_of_the_classes(
    tiny: Callable[..., Recipe], last: float, mean: float, answers: Answers | None, status: str
) -> None:
    counts: dict[str, Any] = {"train_counts": (152, 8), "valid_counts": (38, 2)}
    settings = planned(tiny(), train_images=160, valid_images=40, classes=2, **counts)
    assert status_of(settings, [step(0.3), step(last)], [epoch(mean)], answers) == status


def test_where_the_shares_are_not_known_chance_is_a_uniform_answer(tiny: Callable[..., Recipe]) -> None:
    settings = planned(tiny(), train_images=160, valid_images=40, classes=4)
    assert settings.chance == settings.valid_chance == pytest.approx(math.log(4))
    assert status_of(settings, [step(0.3)], [replace(epoch(math.log(4)), valid_loss=1.4)], GOOD) == "collapsed"
