"""`find_lr` and `train` for Python: a recipe in, a finished run out, in the same folder as the command leaves."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from onecycle_cli.analysis.lr_range import Suggestion
from onecycle_cli.errors import InputError
from onecycle_cli.experiments import range_test, training
from onecycle_cli.experiments.classifier import Classifier, load_model
from onecycle_cli.experiments.saved_run import SavedRun
from onecycle_cli.experiments.session import RUNS_DIR, hardware_of, new_run
from onecycle_cli.experiments.suggestions import with_max_lr_from
from onecycle_cli.experiments.verification import budget_of
from onecycle_cli.models import NO_CODE, OwnCode
from onecycle_cli.progress import Report, silent
from onecycle_cli.recipe import Recipe, lacks_max_lr, varied, with_max_lr, with_values
from onecycle_cli.recipe.from_python import load_recipe
from onecycle_cli.recipe.max_lr import MaxLr
from onecycle_cli.run_dir.run import Status


@dataclass(frozen=True)
class FindLrResult:
    """A range test that has ended: its run, and what it suggests.

    `suggestion.max_lr` is None where no number can be trusted; `suggestion.reason` then says why.
    """

    run: SavedRun
    suggestion: Suggestion


@dataclass(frozen=True)
class TrainResult:
    """A training that has ended: its run, how it ended, and the numbers of `summary.json`.

    `status` is "finished", "diverged" (the loss was not finite) or "collapsed" (no better than guessing).
    """

    run: SavedRun
    status: Status
    summary: dict[str, Any]
    code: OwnCode = field(default=NO_CODE, repr=False)

    def model(self) -> Classifier:
        """The trained model with its classes, on the CPU; `InputError` where the training diverged."""
        return load_model(self.run.path, trust_code=self.code.trusted, model=self.code.network)


def find_lr(
    recipe: Recipe | str | Path,
    *,
    repeats: int = 1,
    verify: bool = False,
    budget: float | None = None,
    model: nn.Module | None = None,
    trust_code: bool = False,
    runs_dir: str | Path = RUNS_DIR,
    name: str | None = None,
    report: Report = silent,
) -> FindLrResult:
    """Runs the learning rate range test of a recipe, as `onecycle find-lr` does.

    `recipe` is a `Recipe`, the path of a YAML file, or the name of a shipped recipe. `repeats` tests run, each with its
    own seed. `budget` also trains short cycles around the suggestion, of at most `budget` times the steps of the
    planned training (above 0, at most 4); `verify` is a budget of 0.25. `model` is a network to use instead of the
    recipe's: it gets normalized images, float32 (N, channels, image_size, image_size), and returns logits (N, classes).
    Each test starts from its weights, and it is not changed. `trust_code` runs the Python code that the recipe names in
    `model.function`. The run's folder is made in `runs_dir`, called `name` or by the time. `report` is called with each
    note (a string) and each `Progress`.

    Where the curve cannot be trusted, `suggestion.max_lr` of the result is None, and nothing is raised. `InputError`
    where the recipe, its images or the budget cannot be used; `MachineError` where data, memory or the disk are
    missing.
    """
    budget = budget_of(budget, verify=verify)
    loaded = _with_network(_loaded(recipe), model)
    code = OwnCode(trust_code, model)
    session = new_run("find-lr", loaded, runs_dir=runs_dir, name=name, report=report, code=code)
    suggestion = range_test.find_lr(loaded, session, repeats=repeats, budget=budget)
    return FindLrResult(SavedRun(session.run), suggestion)


def train(
    recipe: Recipe | str | Path,
    *,
    max_lr: MaxLr | str = None,
    max_lr_from: str | Path | None = None,
    force: bool = False,
    profile: bool = False,
    model: nn.Module | None = None,
    trust_code: bool = False,
    runs_dir: str | Path = RUNS_DIR,
    name: str | None = None,
    report: Report = silent,
) -> TrainResult:
    """Trains a recipe, as `onecycle train` does.

    `recipe` is a `Recipe`, the path of a YAML file, or the name of a shipped recipe. `max_lr` is the peak of lr, or
    those of two layer groups: `{"body": 0.01, "head": 0.1}`; "auto" runs the range test first, in the same folder; None
    takes the recipe's. `max_lr_from` takes it from a range test that was run before: its folder, its name in
    `runs_dir`, or "latest"; its settings must be the recipe's unless `force` is true. `profile` also times the parts of
    a step. `model` is a network to use instead of the recipe's: it gets normalized images, float32 (N, channels,
    image_size, image_size), and returns logits (N, classes). The training starts from its weights, and it is not
    changed: the trained one is in the result. `trust_code` runs the Python code that the recipe names in
    `model.function`. The run's folder is made in `runs_dir`, called `name` or by the time. `report` is called with each
    note (a string) and each `Progress`.

    A run that diverged or collapsed is returned, not raised. `InputError` where there is no max_lr, or where the recipe
    or its images cannot be used; `NoSuggestionError` where "auto" finds none; `MachineError` where data, memory or the
    disk are missing.
    """
    loaded, auto = _with_network(_loaded(recipe), model), max_lr == "auto"
    named: dict[str, Any] = {}
    if max_lr is not None and max_lr_from is not None:
        raise InputError("max_lr and max_lr_from both name a max_lr.", "Give one of them.")
    if max_lr_from is not None:
        precision = hardware_of(loaded).precision
        source = str(max_lr_from)
        taken = with_max_lr_from(loaded, source, runs_dir=Path(runs_dir), precision=precision, force=force)
        loaded, named = taken.recipe, {"max_lr_from": str(taken.run.path.absolute())}
    elif isinstance(max_lr, str) and not auto:
        raise InputError(f"max_lr={max_lr!r} is no lr.", 'Give a number such as 0.8, or "auto".')
    elif max_lr is not None and not isinstance(max_lr, str):
        loaded = with_max_lr(varied(loaded, {"schedule.max_lr": max_lr}, loaded.name), max_lr)  # told as a person's
    elif not auto and lacks_max_lr(loaded):
        fix = 'Give max_lr, such as find_lr(recipe).suggestion.max_lr, or max_lr="auto".'
        raise InputError(f"There is no max_lr: schedule.max_lr of {loaded.name} is empty.", fix)
    code = OwnCode(trust_code, model)
    session = new_run("train", loaded, runs_dir=runs_dir, name=name, report=report, code=code, auto=auto, **named)
    ended = training.train(loaded, session, auto=auto, profile=profile)
    return TrainResult(SavedRun(session.run), ended.status, ended.summary, code)


def _loaded(recipe: Recipe | str | Path) -> Recipe:
    return recipe if isinstance(recipe, Recipe) else load_recipe(recipe)


def _with_network(recipe: Recipe, model: nn.Module | None) -> Recipe:
    """Returns the recipe with a network that was given in Python, instead of its own; unchanged if it is None."""
    if model is None:
        return recipe
    return with_values(
        recipe, {"model": {"source": "python", "class_name": type(model).__name__, "init": recipe.model.init}}
    )
