"""What saved runs hold, read for comparing, and the picture of them together. Finished or not, and of any version."""

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
from onecycle_cli.run_dir.files import EPOCHS, LR_RANGE, RECIPE, STEPS
from onecycle_cli.run_dir.finding import find_run, runs_in
from onecycle_cli.run_dir.run import RunDir

RESULTS = (
    *("max_lr", "confidence", "epochs"),
    *("train_loss", "train_accuracy"),
    *("valid_loss", "valid_accuracy", "valid_balanced_accuracy", "valid_top5_accuracy"),
    *("best_valid_accuracy", "best_epoch"),
    *("test_loss", "test_accuracy", "test_balanced_accuracy", "test_top5_accuracy"),
    *("loss", "accuracy", "balanced_accuracy", "top5_accuracy", "seconds"),
)
"""What is shown of the summary of a run of any command, in this order."""


@dataclass(frozen=True)
class LeftOut:
    """What was named and cannot be compared, and why."""

    run: str
    reason: str


def read_runs(runs_dir: Path, named: Sequence[str]) -> tuple[list[Run], list[LeftOut]]:
    """The runs that a person named, each once and in that order, a sweep as the runs inside it.

    `InputError` where none of them can be read.
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
    """What is known of one run by now; `InputError` where a file of it is damaged."""
    with _all_there(run):
        facts, summary = run.facts, run.summary
        command, status = _command(run, facts["command"]), run.status
        recipe = dotted_values(run.path / RECIPE)
        if recipe.get("find_lr.momentum") is None:
            recipe["find_lr.momentum"] = recipe.get("schedule.max_momentum")
        # What "auto" came to on the machine of the run.
        recipe |= {"runtime.precision": facts["precision"], "runtime.device": facts["device"]}
        so_far = summary or _so_far(run, recipe)
        results = {name: so_far.get(name) for name in RESULTS} | {"seconds": facts["seconds"]}
        return Run(str(run.path), command, status, settings_of(command, recipe), results)


def _command(run: RunDir, command: str) -> str:
    """What a run does; inside a sweep it has the sweep's command, and its tables tell."""
    if command.startswith("sweep"):
        tables = {STEPS: "train", LR_RANGE: "find-lr"}
        return next((does for name, does in tables.items() if (run.path / name).is_file()), command)
    return command


def _so_far(run: RunDir, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """What the summary of a training would hold, of the epochs that are done."""
    epochs = [_numbers(row) for row in run.read_growing_table(EPOCHS)]
    if not epochs:
        return {}
    best = max(epochs, key=lambda epoch: epoch["valid_accuracy"])
    told = {"max_lr": recipe.get("schedule.max_lr"), "epochs": len(epochs)}
    told |= {"best_valid_accuracy": best["valid_accuracy"], "best_epoch": int(best["epoch"])}
    return epochs[-1] | told


def _numbers(row: Mapping[str, str]) -> dict[str, float]:
    """The cells of a row that are not empty: top-5 accuracy is, where there are few classes."""
    return {name: float(value) for name, value in row.items() if value}


@contextmanager
def _all_there(run: RunDir) -> Iterator[None]:
    """Words for what is missing in a run's folder, or is none of what it should be."""
    try:
        yield
    except FileNotFoundError as error:
        raise InputError(f"{error.filename} is gone.", "Run it again.") from None
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{run.path} is damaged: {error!r}.", "Run it again.") from None


def draw_comparison(path: Path, runs: Sequence[Run], labels: Sequence[str], report: Report) -> list[LeftOut]:
    """Draws runs together, each under its label; returns those with nothing that can be drawn."""
    left_out: list[LeftOut] = []

    def plot(beside: Path) -> str:
        missing, others = plot_runs(beside, runs, labels)
        left_out.extend(others)
        return missing

    draw_file(path, report, plot)
    return left_out


def plot_runs(path: Path, runs: Sequence[Run], labels: Sequence[str]) -> tuple[str, list[LeftOut]]:
    """Plots trainings and range tests; returns the characters that no font has, and the runs without a curve."""
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
