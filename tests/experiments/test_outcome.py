"""What is said of a training when it has ended; the runs themselves are in test_training.py."""

import math

import pytest

from onecycle_cli.experiments.checkpoints import Epoch
from onecycle_cli.experiments.outcome import status_of
from onecycle_cli.experiments.setup import LoggedStep


def step(loss: float) -> LoggedStep:
    return LoggedStep(9, 1, 0.1, 0.9, loss)


def epoch(loss: float) -> Epoch:
    return Epoch(1, 9, 0.1, 0.9, loss, 0.5, 1.2, 0.4, 3.0, 100.0)


@pytest.mark.parametrize(
    ("last", "mean", "status"),
    [
        (math.nan, 0.5, "diverged"),
        (math.inf, 0.5, "diverged"),
        (0.4, 0.5, "finished"),
        (0.4, math.log(4), "collapsed"),
        (5.0, math.log(4) - 1e-6, "finished"),
    ],
)
def test_the_status_follows_from_the_last_step_and_the_last_epoch(last: float, mean: float, status: str) -> None:
    assert status_of([step(0.3), step(last)], [epoch(mean)], classes=4) == status
