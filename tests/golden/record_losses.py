"""Trains a tiny network with every optimizer, schedule and precision of a recipe; writes the losses to losses.csv.

python tests/golden/record_losses.py [FILE]

Each trace is twelve steps on a tenth of the embedded digits: four epochs of three batches. Record again only after a
change that is meant to change the losses, read the differences (`git diff tests/golden/losses.csv`), and hold them
against a plain loop of torch: `pytest -m slow tests/test_golden_losses.py`.
"""

import csv
import sys
import tempfile
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from onecycle_cli.experiments.prepared_recipe import PreparedRecipe, is_same_network, prepare
from onecycle_cli.experiments.session import Session, hardware_of
from onecycle_cli.experiments.staged_steps import StagedSteps
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, load, shipped_path, with_values
from onecycle_cli.run_dir.run import RunDir

FILE = Path(__file__).parent / "losses.csv"

DIGITS = load(shipped_path("digits"))

TINY = {
    "data.valid_fraction": 0.9,
    "data.batch_size": 60,
    "model.architecture": "cnn",  # half the time of a resnet8
    "model.width": 0.25,
    "schedule.epochs": 4,
}

OPTIMIZERS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer.name": "sgd", "optimizer.weight_decay": 0.05},
    "sgd nesterov": {"optimizer.name": "sgd", "optimizer.nesterov": True, "optimizer.weight_decay": 0.05},
    "adamw": {"optimizer.name": "adamw", "optimizer.beta2": 0.9, "optimizer.weight_decay": 1.0},
}
"""Weight decay is strong and beta2 small, so that twelve steps show both."""

CLIPPED = {"optimizer.decay_norm_and_bias": False, "optimizer.max_grad_norm": 0.5}
IN_PARTS = {"optimizer.label_smoothing": 0.1, "optimizer.class_weights": "balanced", "data.accumulate": 3}

WITH_MORE = {
    "sgd, clipped": OPTIMIZERS["sgd"] | CLIPPED,
    "sgd, in parts": OPTIMIZERS["sgd"] | IN_PARTS,  # not clipped, which would hide a gradient of the wrong size
    "adamw, with both": OPTIMIZERS["adamw"] | CLIPPED | IN_PARTS,
}
"""Whatever else changes a step and draws no numbers on the device, as dropout does."""

MAX_LR: dict[Any, float] = {"sgd": 0.03, "adamw": 0.006}
"""Small enough that rounding grows slowly: at three times these lrs, two kinds of bfloat16 end 7 % apart."""

ONE_CYCLE = {"schedule.policy": "one_cycle", "schedule.pct_start": 0.4}
TRIANGULAR = {"schedule.policy": "triangular", "schedule.step_size": 2}
SCHEDULES: dict[str, dict[str, Any]] = {
    "blog": ONE_CYCLE | {"schedule.shape": "blog"},
    "smith": ONE_CYCLE | {"schedule.shape": "smith"},
    "torch": ONE_CYCLE | {"schedule.shape": "torch"},
    "torch linear": ONE_CYCLE | {"schedule.shape": "torch", "schedule.anneal_strategy": "linear"},
    "torch three phases": ONE_CYCLE | {"schedule.shape": "torch", "schedule.three_phase": True},
    "fastai": ONE_CYCLE | {"schedule.shape": "fastai"},
    "triangular": TRIANGULAR | {"schedule.mode": "triangular"},
    "triangular2": TRIANGULAR | {"schedule.mode": "triangular2"},
    "exp_range": TRIANGULAR | {"schedule.mode": "exp_range", "schedule.gamma": 0.9},
    "constant": {"schedule.policy": "constant"},
    "multistep": {"schedule.policy": "multistep", "schedule.milestones": [1, 3], "schedule.gamma": 0.3},
    "cosine": {"schedule.policy": "cosine", "schedule.final_div_factor": 100.0},
}

STAGES = "two stages"
"""One cycle for the head alone, then one for all layer groups, each with its own lr."""


class Case(NamedTuple):
    """A trace, by its names in the tables above."""

    optimizer: str
    schedule: str
    precision: str


CASES = [
    Case(optimizer, schedule, precision)
    for precision in ("float32", "bfloat16")
    for optimizer, schedule in (*product(OPTIMIZERS, [*SCHEDULES, STAGES]), *product(WITH_MORE, ["blog"]))
]
"""Those with the same optimizer and precision are neighbours, because they can share a network."""


def recipe_of(case: Case, device: str = "cpu") -> Recipe:
    """The recipe of a trace."""
    values = TINY | (OPTIMIZERS | WITH_MORE)[case.optimizer] | SCHEDULES.get(case.schedule, SCHEDULES["blog"])
    peak = MAX_LR[values["optimizer.name"]]
    values |= {"schedule.max_lr": peak, "runtime.device": device, "runtime.precision": case.precision}
    if case.schedule == STAGES:
        stages = [{"freeze_to": "head", "epochs": 1}, {"epochs": 3, "max_lr": [peak / 5, peak]}]
        values |= {"fine_tune": {"stages": stages}}
    return with_values(DIGITS, values)


def traces(recipes: Iterable[Recipe]) -> Iterator[list[float]]:
    """Takes the steps that `onecycle train` takes, by each recipe; yields the losses, each before its update."""
    last: tuple[Recipe, PreparedRecipe] | None = None
    with tempfile.TemporaryDirectory() as folder:
        run = RunDir.create(Path(folder), command="train", recipe_name="digits", recipe_yaml="", facts={}, name=None)
        for recipe in recipes:
            session = Session(run, hardware_of(recipe), silent)
            if last is None or not is_same_network(last[0], recipe):
                last = recipe, prepare(recipe, session)
            yield [float(step.loss) for step in StagedSteps(recipe, last[1], session).since(0)]


def recorded() -> dict[Case, list[float]]:
    """The traces in losses.csv."""
    with FILE.open(newline="") as file:
        _, *rows = csv.reader(file)
    return {Case(*row[:3]): [float(loss) for loss in row[3:]] for row in rows}


def main() -> None:
    """Records all traces."""
    losses = list(traces(map(recipe_of, CASES)))
    with (Path(sys.argv[1]) if len(sys.argv) > 1 else FILE).open("w", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow([*Case._fields, *(f"loss {step}" for step in range(len(losses[0])))])
        rows.writerows([*case, *(f"{loss:.8g}" for loss in trace)] for case, trace in zip(CASES, losses, strict=True))


if __name__ == "__main__":
    main()
