"""Decisions of `onecycle tune`: the values to try, in which order, for how long, and when to change a value. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Any

from onecycle_cli.analysis.batch_size import sizes_around

BATCH_SIZE, WEIGHT_DECAY = "data.batch_size", "optimizer.weight_decay"
MAX_MOMENTUM, BASE_MOMENTUM = "schedule.max_momentum", "schedule.base_momentum"

NOISE_SEEDS = 3
"""The number of short runs of the start values, each with a different seed. Their spread is the noise estimate of all
runs."""

FINAL_REPEATS = 3
"""The number of range tests with the chosen values."""

SPARE = 0.1
"""The share of the time budget that is kept in reserve: speeds vary, and writing files takes time."""


@dataclass(frozen=True)
class TuningStage:
    """A stage of tuning: fields that are decided together, with the `values` to try besides the current ones."""

    name: str
    values: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class TuningRun:
    """A short training run with its `values`, its max_lr, and its validation loss at the end.

    `valid_loss` is None if the run learned nothing or was not started; `problem` then holds the reason.
    """

    values: Mapping[str, Any]
    valid_loss: float | None
    max_lr: float | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Decision:
    """The result of a stage: its fields before (`was`) and after (`chosen`), and the reason with its numbers."""

    stage: str
    was: Mapping[str, Any]
    chosen: Mapping[str, Any]
    reason: str
    trials: Sequence[TuningRun]


def stages(
    batch_size: int,
    weight_decay: float,
    weight_decays: Sequence[float],
    momentum: tuple[float, float],
    images: int,
    *,
    cycles: bool = True,
) -> list[TuningStage]:
    """Returns the stages in Smith's order: batch size, weight decay, momentum (max, base).

    Batch sizes are a quarter, half and twice that of the start, if they leave an epoch of `images` training images
    enough batches. Momentum is tried constant at 0.9 and 0.95, and, if the schedule `cycles`, cycling from 0.95 to 0.85
    (Smith's report, remarks 2 to 4).
    """
    sizes = sizes_around(batch_size, (1 / 4, 1 / 2, 2), images)
    decays = [value for value in weight_decays if value != weight_decay]
    pairs = [pair for pair in ((0.95, 0.85), (0.95, 0.95), (0.9, 0.9)) if pair != momentum]
    momentums = [
        {MAX_MOMENTUM: high, BASE_MOMENTUM: low} if cycles else {MAX_MOMENTUM: high}
        for high, low in pairs
        if cycles or high == low
    ]
    found = [
        TuningStage("batch size", [{BATCH_SIZE: size} for size in sizes]),
        TuningStage("weight decay", [{WEIGHT_DECAY: value} for value in decays]),
        TuningStage("momentum", momentums),
    ]
    return [stage for stage in found if stage.values]


@dataclass(frozen=True)
class Cost:
    """The seconds of a range test at `batch_size`, and of an epoch with its scoring at any batch size."""

    batch_size: int
    range_test: float
    epoch: float

    def range_tests(self, stage: TuningStage) -> float:
        """Returns the seconds of the stage's range tests: one per batch size tried, with a cost in proportion to it."""
        sizes = [values[BATCH_SIZE] for values in stage.values if BATCH_SIZE in values]
        return float(sum(self.range_test * size / self.batch_size for size in sizes))


@dataclass(frozen=True)
class TuningPlan:
    """The epochs of each short run, the stages that fit the time budget, and the names of those left out."""

    epochs: int
    stages: Sequence[TuningStage]
    left_out: Sequence[str]


def planned(stages: Sequence[TuningStage], cost: Cost, budget: float, epochs: int, least: int = 1) -> TuningPlan | None:
    """Plans the longest short runs, up to `epochs`, that allow every run of each stage within `budget` seconds.

    If runs of `least` epochs do not fit, the last stages are left out, momentum first since it matters least. Returns
    None if the budget is too small for the start runs alone.
    """
    for count in range(len(stages), -1, -1):
        kept = stages[:count]
        tests = (1 + FINAL_REPEATS) * cost.range_test + sum(map(cost.range_tests, kept))
        trials = NOISE_SEEDS + sum(len(stage.values) for stage in kept)
        length = math.floor(((1 - SPARE) * budget - tests) / trials / cost.epoch)
        if length >= least:
            return TuningPlan(min(length, epochs), kept, [stage.name for stage in stages[count:]])
    return None


def same_pace(max_lr: float, momentum: float, other: float) -> float:
    """Returns the max_lr at which SGD moves as far with momentum `other` as at `max_lr` with `momentum`.

    In the long run a step with momentum m moves 1 / (1 - m) times as far as a step without. Source: Smith's report,
    section 4.3, which treats lr and momentum as a pair for that reason.
    """
    return max_lr * (1 - other) / (1 - momentum)


def noise(losses: Sequence[float]) -> float | None:
    """Returns the standard error of the difference between two single runs, from losses over seeds; None for one."""
    return math.sqrt(2) * stdev(losses) if len(losses) > 1 else None


def decided(stage: TuningStage, start: TuningRun, others: Sequence[TuningRun], noise: float | None) -> Decision:
    """Chooses the value with the least validation loss if it beats the start by more than one standard error.

    If the start run did not reach its end, any run that did replaces it. If the noise is unknown, a start run that
    reached its end stays.
    """

    def decision(chosen: Mapping[str, Any], reason: str) -> Decision:
        return Decision(stage.name, was, chosen, reason, [start, *others])

    was = {field: start.values[field] for values in stage.values for field in values}
    ended = [trial for trial in others if trial.valid_loss is not None]
    best = min(ended, key=lambda trial: trial.valid_loss or 0.0, default=None)
    if best is None or best.valid_loss is None:
        return decision(was, "No other run finished.")
    chosen = {field: best.values[field] for field in was}
    if start.valid_loss is None:
        return decision(chosen, "The run with the current values did not finish.")
    gain = start.valid_loss - best.valid_loss
    told = f"validation loss {best.valid_loss:.4f} against {start.valid_loss:.4f}"
    if noise is None:
        return decision(was, f"The noise between seeds is unknown: {told}.")
    told += f", with a standard error of {noise:.4f}"
    if gain > noise:
        return decision(chosen, f"Better by more than noise: {told}.")
    return decision(was, f"No other value is better by more than noise: {told}.")


def best_with(values: Mapping[str, Any], trials: Sequence[TuningRun]) -> TuningRun | None:
    """Returns the short run with all of `values` and the least validation loss; None if no such run reached its end."""
    ended = [t for t in trials if t.valid_loss is not None and values.items() <= t.values.items()]
    return min(ended, key=lambda trial: trial.valid_loss or 0.0, default=None)
