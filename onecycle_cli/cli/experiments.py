"""`find-lr` and `train`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onecycle_cli.cli.new_run import figure_line, json_if_it_fails, print_json, start, train_command
from onecycle_cli.cli.options import (
    NO_OVERRIDES,
    RUNS_DIR,
    JsonOption,
    NameOption,
    Overrides,
    QuietOption,
    RecipeArgument,
    RepeatsOption,
    RunsDirOption,
    load_recipe,
    with_overrides,
)
from onecycle_cli.cli.suggest import show_doubt, suggestion_pairs

if TYPE_CHECKING:
    from onecycle_cli.experiments.training import Training
    from onecycle_cli.recipe import Recipe
    from onecycle_cli.run_dir.run import RunDir

DEFAULT_RECIPE = "cifar10-resnet56"
NOT_LEARNED = 3


def add_to(app: typer.Typer) -> None:
    """Adds the commands to the root."""
    app.command("find-lr", epilog="Example: onecycle find-lr cifar10-resnet20 --weight-decay 5e-4")(find_lr)
    app.command("train", epilog="Example: onecycle train cifar10-resnet56 --max-lr 0.8")(train)


@with_overrides
def find_lr(
    recipe: RecipeArgument,
    overrides: Overrides,
    mode: Annotated[str | None, typer.Option("--mode", help="find_lr.mode: exponential or linear.")] = None,
    valid_every: Annotated[
        int | None, typer.Option("--valid-every", help="find_lr.valid_every: score validation images every N steps.")
    ] = None,
    repeats: RepeatsOption = 1,
    verify: Annotated[
        bool, typer.Option("--verify", help="Also train short cycles around it: a quarter of the run's steps.")
    ] = False,
    runs_dir: RunsDirOption = RUNS_DIR,
    name: NameOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run the learning rate range test of a recipe and suggest a max_lr for one cycle.

    Exits with 4 where no number can be trusted: then only --json prints on standard output, with max_lr null.
    """
    from onecycle_cli.cli.console import Display, show_pairs
    from onecycle_cli.errors import NoSuggestionError
    from onecycle_cli.experiments import range_test
    from onecycle_cli.run_dir.files import LR_RANGE, LR_RANGE_FIGURE

    loaded = load_recipe(recipe, overrides, runs_dir, mode=mode, valid_every=valid_every)
    hardware, run = start("find-lr", loaded, runs_dir, name)
    with json_if_it_fails(run, as_json and not quiet, max_lr=None), run.recording(), Display(quiet=quiet) as report:
        suggestion = range_test.find_lr(loaded, hardware, run, report, repeats=repeats, verify=verify)
        run.finish("finished", vars(suggestion))
    if as_json and not quiet:
        print_json(run, vars(suggestion))
    if suggestion.max_lr is None:
        raise NoSuggestionError(suggestion.reason, f"The curve is in {run.path / LR_RANGE}.")
    show_doubt(suggestion, quiet=quiet, as_json=as_json)
    if quiet:
        print(f"{suggestion.max_lr:g}")
    elif not as_json:
        show_pairs(
            [
                *suggestion_pairs(suggestion),
                ("curve", str(run.path / LR_RANGE)),
                *figure_line(run, LR_RANGE_FIGURE),
                ("next", train_command(run)),
            ]
        )


@with_overrides
def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE", help=f"A YAML file, or the name of a shipped recipe; {DEFAULT_RECIPE} if left out."
        ),
    ] = None,
    max_lr: Annotated[
        str | None, typer.Option("--max-lr", metavar="LR|auto", help="The peak of lr; auto runs the range test first.")
    ] = None,
    max_lr_from: Annotated[
        str | None,
        typer.Option("--max-lr-from", metavar="RUN|latest", help="Take max_lr from a range test of the same settings."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Take it though settings differ.")] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also time the parts of a step, to profile.csv in the run's folder.")
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="RUN", help="Go on with a training from its last checkpoint."),
    ] = None,
    reschedule: Annotated[
        bool, typer.Option("--reschedule", help="With --resume: let --epochs change the cycle that it goes on in.")
    ] = False,
    overrides: Overrides = NO_OVERRIDES,
    runs_dir: RunsDirOption = RUNS_DIR,
    name: NameOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train with the 1cycle policy.

    Exits with 3 where the run diverged, or ended no better than chance; with 4 where --max-lr auto finds none: a range
    test that gives no max_lr is repeated once, with more steps and seeds. A run that was interrupted or killed goes on
    with --resume: its weights and tables end as if it had not been.
    """
    from onecycle_cli.cli.console import Display
    from onecycle_cli.errors import InputError
    from onecycle_cli.experiments import training
    from onecycle_cli.recipe import lacks_max_lr

    if resume is not None:
        others = (recipe, max_lr, max_lr_from, name)
        only_epochs = overrides == Overrides(epochs=overrides.epochs)
        if profile or not only_epochs or any(value is not None for value in others):
            fix = "Beside --resume there are --epochs with --reschedule, --force, --quiet and --json."
            raise InputError("What a run trains is settled where it began.", fix)
        _resume(resume, overrides.epochs, runs_dir, reschedule=reschedule, force=force, quiet=quiet, as_json=as_json)
        return
    if reschedule:
        raise InputError("--reschedule is of a training that goes on.", "Name it with --resume RUN.")
    recipe = recipe or DEFAULT_RECIPE
    if max_lr is not None and max_lr_from is not None:
        raise InputError("--max-lr and --max-lr-from both name a max_lr.", "Give one of them.")
    loaded = load_recipe(recipe, overrides, runs_dir, max_lr=None if max_lr == "auto" else max_lr)
    if max_lr_from is not None:
        loaded = _with_max_lr_from(max_lr_from, loaded, runs_dir, force, quiet)
    elif max_lr != "auto" and lacks_max_lr(loaded):
        raise InputError(
            f"There is no max_lr: schedule.max_lr of {recipe} is empty.",
            f"Run `onecycle find-lr {recipe}`, then train with --max-lr-from latest; or train with --max-lr auto.",
        )
    hardware, run = start("train", loaded, runs_dir, name, auto=max_lr == "auto")
    failing = json_if_it_fails(run, as_json and not quiet, max_lr=None, valid_accuracy=None)
    with failing, run.alone(), _can_go_on(run), run.recording(), Display(quiet=quiet) as report:
        ended = training.train(loaded, hardware, run, report, auto=max_lr == "auto", profile=profile)
    _tell_end(run, ended, quiet, as_json)


def _resume(
    text: str, epochs: int | None, runs_dir: Path, *, reschedule: bool, force: bool, quiet: bool, as_json: bool
) -> None:
    from onecycle_cli.cli.console import Display
    from onecycle_cli.experiments import resume as resuming
    from onecycle_cli.run_dir.finding import find_run

    run = find_run(runs_dir, text)
    with run.alone(), Display(quiet=quiet) as report:
        resumed = resuming.resumption(run, report, epochs=epochs, reschedule=reschedule, force=force)
        run.resume()
        failing = json_if_it_fails(run, as_json and not quiet, valid_accuracy=None)
        with failing, _can_go_on(run), run.recording():
            ended = resuming.resume(resumed, run, report)
    _tell_end(run, ended, quiet, as_json)


@contextmanager
def _can_go_on(run: "RunDir") -> Iterator[None]:
    """Has the message say how, where the training is ended by a person or by the machine, after a checkpoint."""
    from onecycle_cli.errors import MachineError, Terminated
    from onecycle_cli.experiments.checkpoints import steps_kept
    from onecycle_cli.run_dir.facts import command_line

    try:
        yield
    except (KeyboardInterrupt, Terminated, MachineError, OSError) as end:
        if steps_kept(run):
            end.add_note(f"It can go on: {command_line(['train', '--resume', str(run.path)])}")
        raise


def _tell_end(run: "RunDir", ended: "Training", quiet: bool, as_json: bool) -> None:
    from onecycle_cli.cli.console import show_note

    reason = None
    if ended.status == "diverged":
        step, lr = ended.summary["diverged_step"], ended.summary["diverged_lr"]
        reason = f"The loss was no longer finite at step {step}, at lr {lr:.3g}: the training has diverged."
    elif ended.status == "collapsed":
        reason = "The train loss ended no better than chance: the network has learned nothing."
    if reason is not None:
        show_note(reason)
    _show_training(run, ended.summary | {"reason": reason}, quiet, as_json)
    if ended.status != "finished":
        raise typer.Exit(NOT_LEARNED)


def _with_max_lr_from(text: str, recipe: "Recipe", runs_dir: Path, force: bool, quiet: bool) -> "Recipe":
    from onecycle_cli.cli.console import show_note
    from onecycle_cli.errors import InputError
    from onecycle_cli.experiments.suggestions import stale_settings, suggested_max_lr
    from onecycle_cli.recipe import with_largest_max_lr
    from onecycle_cli.run_dir.finding import find_run, latest_suggestions
    from onecycle_cli.training.hardware import resolve_hardware

    precision = resolve_hardware(recipe.runtime.device, recipe.runtime.precision).precision
    named = latest_suggestions(runs_dir, recipe.name) if text == "latest" else [find_run(runs_dir, text)]
    found = next((run for run in named if not stale_settings(run, recipe, precision)), named[0])
    saved, stale = suggested_max_lr(found, recipe), stale_settings(found, recipe, precision)
    if stale and not force:
        listed = "\n".join(f"  {setting}" for setting in stale)
        raise InputError(
            f"The range test in {found.path} ran under other settings, so its max_lr may be wrong here:\n{listed}",
            "Run find-lr again with these settings, or take it all the same with --force.",
        )
    then = "" if saved.max_lr == saved.then else f", read again; it said {saved.then:g} then"
    if not quiet:
        show_note(f"max_lr {saved.max_lr:g} from {found.path}{then}.")
    if saved.confidence == "low":
        show_note("The confidence in it is low: `onecycle find-lr --repeats 3` tells more.")
    return with_largest_max_lr(recipe, saved.max_lr)


def _show_training(run: "RunDir", summary: dict[str, Any], quiet: bool, as_json: bool) -> None:
    from onecycle_cli.cli.console import duration, show_pairs
    from onecycle_cli.run_dir.files import MODEL, TRAINING_FIGURE

    accuracy = summary["valid_accuracy"]
    if quiet:
        if accuracy is not None:
            print(f"{accuracy:.4f}")
        return
    if as_json:
        print_json(run, summary)
        return
    pairs = [("status", str(summary["status"])), ("max_lr", f"{summary['max_lr']:g}")]
    for split in ("train", "valid", "test"):
        if summary[f"{split}_accuracy"] is not None:
            scores = f"{summary[f'{split}_accuracy']:.4f}  (loss {summary[f'{split}_loss']:.4f})"
            pairs.append((f"{split}_accuracy", scores))
        further = (f"{split}_balanced_accuracy", f"{split}_top5_accuracy")
        pairs += [(name, f"{summary[name]:.4f}") for name in further if summary.get(name) is not None]
    pairs.append(("time", duration(summary["seconds"])))
    pairs += figure_line(run, TRAINING_FIGURE)
    if summary["diverged_step"] is None:
        pairs.append(("model", str(run.path / MODEL)))
    pairs.append(("run", str(run.path)))
    if summary["diagnosis"]:
        pairs.append(("diagnosis", summary["diagnosis"].line))
    show_pairs(pairs)
