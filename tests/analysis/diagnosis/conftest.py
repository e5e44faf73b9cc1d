"""Runs made up for a rule: what is not given is that of a healthy run."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from onecycle_cli.analysis.diagnosis import CurveEpoch, CurveStep, Settings, TrainingRun

SETTINGS: dict[str, Any] = {
    "max_lr": 0.2,
    "usual_max_lr": 0.11,
    "suggested_max_lr": None,
    "tail_share": 0.14,
    "gain": 1 / (1 - 0.85),
    "weight_decay": 5e-4,
    "label_smoothing": 0.0,
    "dropout": 0.0,
    "augmented": True,
    "classes": 10,
    "valid_images": 1000,
}


@pytest.fixture
def run_of() -> Callable[..., TrainingRun]:
    """A run of these losses, an epoch each.

    lr climbs to its peak in the middle and comes down again. `accuracies` are pairs of train and validation accuracy,
    by default what the losses would go with; further keywords are settings.
    """

    def make(
        train: Sequence[float],
        valid: Sequence[float],
        *,
        accuracies: Sequence[tuple[float, float]] | None = None,
        planned: int | None = None,
        status: str = "finished",
        steps: Sequence[CurveStep] = (),
        **settings: Any,
    ) -> TrainingRun:
        total = planned or len(train)
        chosen = Settings(**{"epochs": total, "single_cycle": True} | SETTINGS | settings)
        pairs = accuracies or [(max(0.0, 1 - a / 3), max(0.0, 1 - b / 3)) for a, b in zip(train, valid, strict=True)]
        epochs = []
        for number, (a, b, (right, valid_right)) in enumerate(zip(train, valid, pairs, strict=True), start=1):
            climbed = 1 - abs(2 * number / total - 1)
            epochs.append(CurveEpoch(number, chosen.max_lr * (0.01 + 0.99 * climbed), a, right, b, valid_right))
        return TrainingRun(status, chosen, steps, epochs)

    return make
