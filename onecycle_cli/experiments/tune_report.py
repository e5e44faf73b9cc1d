"""The report of a tuning, as Markdown: each decision with its evidence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from onecycle_cli.analysis.tuning import NOISE_SEEDS, Decision, TuningRun
from onecycle_cli.recipe import as_written


@dataclass(frozen=True)
class TuneReport:
    """The content of a tuning report.

    `max_lr` is a sentence. `noise` is the standard error of the difference between two validation losses, or None.
    `budget` and `used` are in seconds.
    """

    name: str
    budget: float
    used: float
    noise: float | None
    max_lr: str
    decisions: Sequence[Decision]
    left_out: Sequence[str]

    def to_markdown(self) -> str:
        """Returns the text of `tune.md`."""
        lines = [
            f"# {self.name}",
            "",
            f"Of a budget of {self.budget:.0f} s, {self.used:.0f} s were used. {_noise(self.noise)}",
            "",
            self.max_lr,
        ]
        for decision in self.decisions:
            lines += ["", f"## {decision.stage}", "", f"{_change(decision)} {decision.reason}", ""]
            lines += ["| values | max_lr | validation loss |", "| --- | --- | --- |"]
            lines += [_row(trial, decision) for trial in decision.trials]
        if self.left_out:
            lines += ["", f"Left out for lack of time: {', '.join(self.left_out)}."]
        return "\n".join(lines) + "\n"


def told(values: Mapping[str, Any]) -> str:
    """Formats values for a person, such as "data.batch_size 64, optimizer.weight_decay 1e-4"."""
    return ", ".join(f"{field} {as_written(value)}" for field, value in values.items())


def _noise(noise: float | None) -> str:
    if noise is None:
        return "The noise between seeds is not known: fewer than two of the start's short runs came to their end."
    return (
        f"The standard error of the difference between two short runs is {noise:.4f} in validation loss, from "
        f"{NOISE_SEEDS} seeds of the start."
    )


def _change(decision: Decision) -> str:
    if decision.chosen == decision.was:
        return f"{told(decision.was)} stays."
    return f"{told(decision.was)} becomes {told(decision.chosen)}."


def _row(trial: TuningRun, decision: Decision) -> str:
    values = {field: trial.values[field] for field in decision.was}
    max_lr = "" if trial.max_lr is None else f"{trial.max_lr:g}"
    loss = trial.problem if trial.valid_loss is None else f"{trial.valid_loss:.4f}"
    return f"| {told(values)} | {max_lr} | {loss} |"
