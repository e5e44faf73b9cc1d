"""The statement that a rule makes about a run, and the text and numbers that several rules share."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self

from onecycle_cli.analysis.diagnosis.curves import Settings, TrainingRun


@dataclass(frozen=True)
class Place:
    """The part of a run that a statement is about: from `first` to `last`, counted in `unit`: "step" or "epoch"."""

    unit: str
    first: int
    last: int

    def __str__(self) -> str:
        if self.first == self.last:
            return f"{self.unit} {self.first}"
        return f"{self.unit}s {self.first} to {self.last}"


@dataclass(frozen=True)
class Statement:
    """The finding of a rule: its place in the run, its text, the numbers behind it, and advice."""

    rule: str
    place: Place
    text: str
    evidence: dict[str, float]
    advice: str

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> Self:
        """Returns the statement that `summary.json` has."""
        return cls(**{**saved, "place": Place(**saved["place"])})

    @property
    def line(self) -> str:
        """The rule, place, text and advice in one line, without the evidence."""
        return f"{self.rule}, {self.place}. {self.text} {self.advice}"


Rule = Callable[[TrainingRun], Statement | None]


def losses(run: TrainingRun) -> dict[str, float]:
    """Returns the last train and validation loss, and the train loss of guessing, as evidence."""
    last = run.epochs[-1]
    return {"train_loss": last.train_loss, "valid_loss": last.valid_loss, "chance": run.settings.chance}


def in_words(loss: float) -> str:
    """Formats a loss for a statement. A validation loss may be NaN or infinite if the network has overflowed."""
    return f"{loss:.3g}" if math.isfinite(loss) else "a value that is not finite"


def together(run: TrainingRun) -> str:
    """Returns a sentence that says the train images are not learned."""
    last = run.epochs[-1]
    return (
        f"Train and validation loss are together at {last.train_loss:.3g} and {in_words(last.valid_loss)}; "
        f"the loss of guessing is {run.settings.chance:.3g}."
    )


def lower_lr(settings: Settings) -> str:
    """Returns advice to train with a lower lr."""
    return _other_lr(settings, "lower")


def higher_lr(settings: Settings) -> str:
    """Returns advice to train with a higher lr."""
    return _other_lr(settings, "higher")


def _other_lr(settings: Settings, way: str) -> str:
    if settings.suggested_max_lr:
        return f"Train with --max-lr {settings.suggested_max_lr:g}, which the range test suggests."
    return f"Train with a {way} --max-lr; `onecycle find-lr` suggests a value."
