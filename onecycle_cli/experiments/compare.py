"""Reads saved runs to compare them, and draws them together. Unfinished runs and runs of older versions work too."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onecycle_cli.analysis.comparison import Run, settings_of
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.drawing import draw_file
from onecycle_cli.experiments.suggestions import saved_curves
from onecycle_cli.progress import Report
from onecycle_cli.recipe import dotted_values
from onecycle_cli.run_dir.files import EPOCHS, ERROR_BAR, LR_RANGE, RECIPE, REPEAT, STEPS
from onecycle_cli.run_dir.finding import find_run, runs_in
from onecycle_cli.run_dir.run import RunDir

RESULTS = (
    *("max_lr", "confidence", *ERROR_BAR, "epochs"),
    *("train_loss", "train_accuracy"),
    *("valid_loss", "valid_accuracy", "valid_balanced_accuracy", "valid_top5_accuracy"),
    *("best_valid_accuracy", "best_epoch"),
    *("test_loss", "test_accuracy", "test_balanced_accuracy", "test_top5_accuracy"),
    *("loss", "accuracy", "balanced_accuracy", "top5_accuracy", "seconds"),
)
"""The results that a comparison shows of a run's summary, in this order, whatever the command."""


@dataclass(frozen=True)
class LeftOut:
    """A run that cannot be compared, and the reason."""

    run: str
    reason: str


def read_runs(runs_dir: Path, named: Sequence[str]) -> tuple[list[Run], list[LeftOut]]:
    """Reads the named runs, each once, in the given order. A sweep stands for the runs inside it.

    Returns the runs and those that could not be read. `InputError` if none can be read.
    """
    runs: dict[Path, Run] = {}
    left_out = []
    for text in named:
        try:
            found = runs_in(find_run(runs_dir, text))
        except InputError as error:
            left_out.append(LeftOut(text, error.what))
            continue
        for run in found:
            try:
                runs.setdefault(run.path.resolve(), read_run(run))
            except InputError as error:
                left_out.append(LeftOut(str(run.path), error.what))
    if not runs:
        raise InputError("\n".join(one.reason for one in left_out), "`onecycle runs` lists the runs.")
    return list(runs.values()), left_out


def read_run(run: RunDir) -> Run:
    """Reads the settings and the results so far of a run. `InputError` if one of its files is damaged."""
    with _all_there(run):
        facts, summary = run.facts, run.summary
        command, status = _command(run, facts["command"]), run.status
        recipe = dotted_values(run.intact(RECIPE))
        if recipe.get("find_lr.momentum") is None:
            recipe["find_lr.momentum"] = recipe.get("schedule.max_momentum")
        # "auto" is replaced by its meaning on the machine of the run.
        recipe |= {"runtime.precision": facts["precision"], "runtime.device": facts["device"]}
        so_far = summary or _so_far(run, recipe)
        results = {name: so_far.get(name) for name in RESULTS} | {"seconds": facts["seconds"]}
        return Run(str(run.path), command, status, settings_of(command, recipe), results)


def _command(run: RunDir, command: str) -> str:
    """Returns the command that a run amounts to; for a run inside a sweep or the like, that follows from its tables."""
    if command.startswith(("sweep", "tune", "reproduce")):
        tables = {STEPS: "train", LR_RANGE: "find-lr"}
        return next((does for name, does in tables.items() if (run.path / name).is_file()), command)
    return command


def _so_far(run: RunDir, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the summary of an unfinished training, from its finished epochs; empty if it has none."""
    epochs = [_numbers(row) for row in run.read_growing_table(EPOCHS)]
    if not epochs:
        return {}
    best = max(epochs, key=lambda epoch: epoch["valid_accuracy"])
    told = {"max_lr": recipe.get("schedule.max_lr"), "epochs": len(epochs)}
    told |= {"best_valid_accuracy": best["valid_accuracy"], "best_epoch": int(best["epoch"])}
    return epochs[-1] | told


def _numbers(row: Mapping[str, str]) -> dict[str, float]:
    """Returns the cells of a row as numbers. Empty cells, such as top-5 accuracy with few classes, are left out."""
    return {name: float(value) for name, value in row.items() if value}


@contextmanager
def _all_there(run: RunDir) -> Iterator[None]:
    """Turns a missing or damaged file of the run into an `InputError`."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{error.filename} is gone.", REPEAT) from None
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{run.path} is damaged: {error!r}.", REPEAT) from None


def draw_comparison(path: Path, runs: Sequence[Run], labels: Sequence[str], report: Report) -> list[LeftOut]:
    """Draws runs together, each with its label. Returns the runs that have nothing to draw."""
    left_out: list[LeftOut] = []

    def plot(beside: Path) -> str:
        missing, others = plot_runs(beside, runs, labels)
        left_out.extend(others)
        return missing

    draw_file(path, report, plot)
    return left_out


def plot_runs(path: Path, runs: Sequence[Run], labels: Sequence[str]) -> tuple[str, list[LeftOut]]:
    """Plots trainings and range tests. Returns the characters that no font has, and the runs without a curve."""
    from onecycle_cli.analysis.lr_range import shape_of
    from onecycle_cli.figures.plots import Overlaid, Trained, plot_comparison

    trainings, tests, left_out = [], [], []
    for run, label in zip(runs, labels, strict=True):
        folder = RunDir(Path(run.path))
        try:
            with _all_there(folder):
                steps, epochs = ([_numbers(row) for row in folder.read_growing_table(name)] for name in (STEPS, EPOCHS))
                curves = saved_curves(folder, growing=True)
        except InputError as error:
            left_out.append(LeftOut(run.path, error.what))
            continue
        if run.command == "train" and steps:
            trainings.append(Trained(label, steps, epochs))
        elif run.command != "train" and curves:
            tests.append(Overlaid(label, shape_of(curves), run.results["max_lr"]))
        else:
            left_out.append(LeftOut(run.path, f"{run.path} has no curve to draw."))
    if not trainings and not tests:
        raise InputError("None of the runs has a curve to draw.", "Leave out --plot, or wait for their first steps.")
    return plot_comparison(path, trainings=trainings, tests=tests), left_out
