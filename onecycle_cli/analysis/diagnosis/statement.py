"""What a rule says of a run, and the words and numbers that several rules share."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from onecycle_cli.analysis.diagnosis.curves import Settings, TrainingRun


@dataclass(frozen=True)
class Place:
    """Where in the run a statement belongs: from `first` to `last`, counted in `unit`s: "step" or "epoch"."""

    unit: str
    first: int
    last: int

    def __str__(self) -> str:
        if self.first == self.last:
            return f"{self.unit} {self.first}"
        return f"{self.unit}s {self.first} to {self.last}"


@dataclass(frozen=True)
class Statement:
    """What a rule found: where, in words, the numbers behind it, and what to do about it."""

    rule: str
    place: Place
    text: str
    evidence: dict[str, float]
    advice: str

    @property
    def line(self) -> str:
        """All of it but the numbers apart, in one line."""
        return f"{self.rule}, {self.place}. {self.text} {self.advice}"


Rule = Callable[[TrainingRun], Statement | None]


def losses(run: TrainingRun) -> dict[str, float]:
    """The last losses, and that of guessing, as evidence."""
    last = run.epochs[-1]
    return {"train_loss": last.train_loss, "valid_loss": last.valid_loss, "chance": run.settings.chance}


def in_words(loss: float) -> str:
    """A loss as a statement tells it: a validation loss may be nan or infinite, where a network has overflowed."""
    return f"{loss:.3g}" if math.isfinite(loss) else "a value that is not finite"


def together(run: TrainingRun) -> str:
    """That the train images are not learned, in words."""
    last = run.epochs[-1]
    return (
        f"Train and validation loss are together at {last.train_loss:.3g} and {in_words(last.valid_loss)}; "
        f"guessing costs {run.settings.chance:.3g}."
    )


def lower_lr(settings: Settings) -> str:
    """The advice to train with a lower lr."""
    return _other_lr(settings, "lower")


def higher_lr(settings: Settings) -> str:
    """The advice to train with a higher lr."""
    return _other_lr(settings, "higher")


def _other_lr(settings: Settings, way: str) -> str:
    if settings.suggested_max_lr:
        return f"Train with --max-lr {settings.suggested_max_lr:g}, which the range test suggests."
    return f"Train with a {way} --max-lr; onecycle find-lr suggests one."
