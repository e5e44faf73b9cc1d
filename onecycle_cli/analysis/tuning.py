"""The discipline as one command: what is tried in which order, for how long, and when a value is changed. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import stdev
from typing import Any

from onecycle_cli.analysis.batch_size import sizes_around

BATCH_SIZE, WEIGHT_DECAY = "data.batch_size", "optimizer.weight_decay"
MAX_MOMENTUM, BASE_MOMENTUM = "schedule.max_momentum", "schedule.base_momentum"

NOISE_SEEDS = 3
"""Short runs of the start, each with a seed of its own: how far they lie apart is the noise of all others."""

FINAL_REPEATS = 3
"""Range tests under the chosen values."""

SPARE = 0.1
"""Of the budget, that no trial is planned in: speeds drift, and files want to be written."""


@dataclass(frozen=True)
class Stage:
    """Some fields that are decided together: `values` are what is tried beside what they are."""

    name: str
    values: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Trial:
    """A short run: the values it had, the max_lr it ran at, and its validation loss at the end.

    `valid_loss` is None for a run that learned nothing or was not made, and `problem` then says why.
    """

    values: Mapping[str, Any]
    valid_loss: float | None
    max_lr: float | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Decision:
    """What became of a stage, in a sentence with its numbers; `was` and `chosen` hold the fields of the stage."""

    stage: str
    was: Mapping[str, Any]
    chosen: Mapping[str, Any]
    reason: str
    trials: Sequence[Trial]


def stages(
    batch_size: int,
    weight_decay: float,
    weight_decays: Sequence[float],
    momentum: tuple[float, float],
    images: int,
    *,
    cycles: bool = True,
) -> list[Stage]:
    """What is tried beside the start, in Smith's order: batch size, weight decay, momentum (max, base).

    Batches are a quarter, half and twice the start's, and leave an epoch of `images` training images some steps.
    Momentum is tried constant at 0.9 and 0.95, and, where the schedule `cycles`, cycling from 0.95 to 0.85 (Smith's
    report, remarks 2 to 4).
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
        Stage("batch size", [{BATCH_SIZE: size} for size in sizes]),
        Stage("weight decay", [{WEIGHT_DECAY: value} for value in decays]),
        Stage("momentum", momentums),
    ]
    return [stage for stage in found if stage.values]


@dataclass(frozen=True)
class Cost:
    """Seconds of a range test at the start's `batch_size`, and of an epoch with its scoring at any."""

    batch_size: int
    range_test: float
    epoch: float

    def range_tests(self, stage: Stage) -> float:
        """Of those that a stage begins with: one for each batch size it tries, as many images as that is large."""
        sizes = [values[BATCH_SIZE] for values in stage.values if BATCH_SIZE in values]
        return float(sum(self.range_test * size / self.batch_size for size in sizes))


@dataclass(frozen=True)
class Plan:
    """How many epochs each short run has, and the stages that there is time for."""

    epochs: int
    stages: Sequence[Stage]
    left_out: Sequence[str]


def planned(stages: Sequence[Stage], cost: Cost, budget: float, epochs: int, least: int = 1) -> Plan | None:
    """The longest short runs, up to the whole run's `epochs`, that leave each stage its trials within `budget` seconds.

    Where not even runs of the `least` epochs do, the last stages are left out, momentum first: it matters least. None
    where there is no time for the start itself.
    """
    for count in range(len(stages), -1, -1):
        kept = stages[:count]
        tests = (1 + FINAL_REPEATS) * cost.range_test + sum(map(cost.range_tests, kept))
        trials = NOISE_SEEDS + sum(len(stage.values) for stage in kept)
        length = math.floor(((1 - SPARE) * budget - tests) / trials / cost.epoch)
        if length >= least:
            return Plan(min(length, epochs), kept, [stage.name for stage in stages[count:]])
    return None


def same_pace(max_lr: float, momentum: float, other: float) -> float:
    """The max_lr at which SGD goes as far with the `other` momentum at the peak as it goes at `max_lr` with `momentum`.

    In the long run a step with momentum m goes as far as 1 / (1 - m) steps without (Smith's report, section 4.3, has
    lr and momentum as a pair for that reason).
    """
    return max_lr * (1 - other) / (1 - momentum)


def noise(losses: Sequence[float]) -> float | None:
    """The standard error of the difference between two single runs, from the losses of some seeds; None of one seed."""
    return math.sqrt(2) * stdev(losses) if len(losses) > 1 else None


def decided(stage: Stage, start: Trial, others: Sequence[Trial], noise: float | None) -> Decision:
    """The value with the least validation loss, if it is better than the start's by more than one standard error.

    A start that did not end gives way to anything that did. Where the noise is not known, a start that ended stays.
    """

    def decision(chosen: Mapping[str, Any], reason: str) -> Decision:
        return Decision(stage.name, was, chosen, reason, [start, *others])

    was = {field: start.values[field] for values in stage.values for field in values}
    ended = [trial for trial in others if trial.valid_loss is not None]
    best = min(ended, key=lambda trial: trial.valid_loss or 0.0, default=None)
    if best is None or best.valid_loss is None:
        return decision(was, "Nothing else came to its end.")
    chosen = {field: best.values[field] for field in was}
    if start.valid_loss is None:
        return decision(chosen, "The start did not come to its end.")
    gain = start.valid_loss - best.valid_loss
    told = f"validation loss {best.valid_loss:.4f} against {start.valid_loss:.4f}"
    if noise is None:
        return decision(was, f"The noise between seeds is not known: {told}.")
    told += f", with a standard error of {noise:.4f}"
    if gain > noise:
        return decision(chosen, f"Better by more than noise: {told}.")
    return decision(was, f"The best of the others is not better by more than noise: {told}.")


def best_with(values: Mapping[str, Any], trials: Sequence[Trial]) -> Trial | None:
    """Of the short runs with all of these values, the one with the least validation loss; None where none ended."""
    ended = [t for t in trials if t.valid_loss is not None and values.items() <= t.values.items()]
    return min(ended, key=lambda trial: trial.valid_loss or 0.0, default=None)
