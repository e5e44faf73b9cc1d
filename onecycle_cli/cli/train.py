"""`train`: trains a recipe, and resumes trainings."""

import math
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onecycle_cli.cli.options import (
    NO_OVERRIDES,
    RUNS_DIR,
    JsonOption,
    NameOption,
    NoPlotOption,
    Overrides,
    ProcessesOption,
    QuietOption,
    RunsDirOption,
    TrustCodeOption,
    load_recipe,
    on_ranks,
    trust_flag,
    with_overrides,
)
from onecycle_cli.cli.preemption import preemptible
from onecycle_cli.cli.results import figure_line, json_if_it_fails, print_json, show_curve

if TYPE_CHECKING:
    from onecycle_cli.experiments.training import Training
    from onecycle_cli.recipe import Recipe
    from onecycle_cli.run_dir.launch import Launch
    from onecycle_cli.run_dir.run import RunDir
    from onecycle_cli.training.ranks import Ranks


DEFAULT_RECIPE = "cifar10-resnet56"
NOT_LEARNED = 3


def add_to(app: typer.Typer) -> None:
    """Adds the command to the root."""
    app.command("train", epilog="Example: onecycle train cifar10-resnet56 --max-lr 0.8")(train)


@with_overrides
@preemptible
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
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="With --max-lr-from: take max_lr although settings differ. "
            "With --resume: go on although images have changed.",
        ),
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Also time the parts of a step, to profile.csv in the run's folder.")
    ] = False,
    resume: Annotated[
        str | None,
        typer.Option("--resume", metavar="RUN", help="Resume a training from its last checkpoint."),
    ] = None,
    reschedule: Annotated[
        bool, typer.Option("--reschedule", help="With --resume: let --epochs change the length of the cycle.")
    ] = False,
    overrides: Overrides = NO_OVERRIDES,
    trust_code: TrustCodeOption = False,
    processes: ProcessesOption = None,
    runs_dir: RunsDirOption = RUNS_DIR,
    name: NameOption = None,
    no_plot: NoPlotOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
    launch: "Launch | None" = None,
) -> None:
    """Train with the 1cycle policy.

    Exits with 3 if the run diverged, or ended no better than chance, and with 4 if --max-lr auto finds none: a range
    test without a result is repeated once, with more steps and seeds. A run that was interrupted or killed resumes with
    --resume, and ends with the same weights and tables as an undisturbed one. A job of SLURM with --requeue resumes its
    run by itself.
    """
    with on_ranks(processes, goes_on=True) as ranks:
        from onecycle_cli.cli.console import Display
        from onecycle_cli.errors import InputError
        from onecycle_cli.experiments import training
        from onecycle_cli.experiments.session import new_run
        from onecycle_cli.models import OwnCode
        from onecycle_cli.recipe import lacks_max_lr
        from onecycle_cli.run_dir.facts import command_line
        from onecycle_cli.run_dir.finding import find_run
        from onecycle_cli.run_dir.launch import again

        how: dict[str, Any] = {"launch": launch, "ranks": ranks, "quiet": quiet, "as_json": as_json, "no_plot": no_plot}
        if resume is not None:
            others = (recipe, max_lr, max_lr_from, name)
            only_epochs = overrides == Overrides(epochs=overrides.epochs)
            if profile or not only_epochs or any(value is not None for value in others):
                fix = (
                    "Leave the other options out. With --resume there are --epochs with --reschedule, --force, "
                    "--trust-code, --processes, --deadline, --requeue, --runs-dir, --no-plot, --quiet and --json."
                )
                raise InputError("A training that is resumed keeps its settings.", fix)
            changes = {"epochs": overrides.epochs, "reschedule": reschedule, "force": force}
            _resume(ranks.from_first(lambda: find_run(runs_dir, resume)), trust_code, changes, **how)
            return
        if reschedule:
            raise InputError(
                "--reschedule works only with --resume RUN.", "Add --resume RUN, or leave --reschedule out."
            )
        if earlier := ranks.from_first(lambda: again(runs_dir, launch, command_line(sys.argv[1:]))):
            _resume(earlier, trust_code, {}, **how)
            return
        recipe = recipe or DEFAULT_RECIPE
        if max_lr is not None and max_lr_from is not None:
            raise InputError("--max-lr and --max-lr-from both name a max_lr.", "Give one of them.")
        given = None if max_lr == "auto" else max_lr
        loaded = ranks.together(lambda: load_recipe(recipe, overrides, runs_dir, max_lr=given))
        named: dict[str, Any] = {}
        if max_lr_from is not None:
            loaded, source = ranks.from_first(lambda: _with_max_lr_from(max_lr_from, loaded, runs_dir, force, quiet))
            named = {"max_lr_from": source}
        elif max_lr != "auto" and lacks_max_lr(loaded):
            raise InputError(
                f"There is no max_lr: schedule.max_lr of {recipe} is empty.",
                f"Run `onecycle find-lr {recipe}`, then train with --max-lr-from latest; or train with --max-lr auto.",
            )
        display, auto, code = Display(quiet=quiet), max_lr == "auto", OwnCode(trust_code)
        facts = {"auto": auto} | named | ({} if launch is None else {"launch": launch.key})
        session = new_run(
            "train", loaded, runs_dir=runs_dir, name=name, report=display, code=code, ranks=ranks, **facts
        )
        failing = json_if_it_fails(session.run, as_json and not quiet, max_lr=None, valid_accuracy=None)
        with failing, _can_go_on(session.run, trust_code=trust_code), display:
            ended = training.train(loaded, session, auto=auto, profile=profile)
        _tell_end(session.run, ended, quiet, as_json, no_plot)


def _resume(
    run: "RunDir",
    trust_code: bool,
    changes: dict[str, Any],
    *,
    launch: "Launch | None",
    ranks: "Ranks",
    quiet: bool,
    as_json: bool,
    no_plot: bool,
) -> None:
    """Resumes a training. One that an earlier start of the same launch brought to its end tells its result again."""
    from onecycle_cli.cli.console import Display, show_note
    from onecycle_cli.experiments import resume as resuming
    from onecycle_cli.models import OwnCode
    from onecycle_cli.run_dir.launch import end_elsewhere

    def ended_before() -> "Training | None":
        if launch is None or not launch.had(run.facts):
            return None
        if (result := resuming.ended(run)) is None:
            end_elsewhere(run)
        return result

    if (result := ranks.from_first(ended_before)) is not None:
        show_note(f"{run.path} has come to its end at an earlier start.")
        _tell_end(run, result, quiet, as_json, no_plot)
        return
    failing = json_if_it_fails(run, as_json and not quiet, valid_accuracy=None)
    with failing, _can_go_on(run, trust_code=trust_code), Display(quiet=quiet) as report:
        key = None if launch is None else launch.key
        ended = resuming.resume(run, report, **changes, code=OwnCode(trust_code), launch=key, ranks=ranks)
    _tell_end(run, ended, quiet, as_json, no_plot)


@contextmanager
def _can_go_on(run: "RunDir", *, trust_code: bool) -> Iterator[None]:
    """Adds how to resume to the message of an error or an interrupt inside the block, if there is a checkpoint."""
    from onecycle_cli.errors import MachineError, Terminated
    from onecycle_cli.experiments.checkpoints import steps_kept
    from onecycle_cli.run_dir.facts import command_line

    try:
        yield
    except (KeyboardInterrupt, Terminated, MachineError, OSError) as end:
        if steps_kept(run):
            words = ["train", "--resume", str(run.path), *trust_flag(trust_code)]
            end.add_note(f"It can go on: {command_line(words)}")
        elif isinstance(end, Terminated) and end.number == signal.SIGALRM:
            end.add_note("It came before the first step, so there is nothing to go on with: give a longer --deadline.")
        raise


def _tell_end(run: "RunDir", ended: "Training", quiet: bool, as_json: bool, no_plot: bool) -> None:
    from onecycle_cli.cli.console import show_note

    reason = None
    if ended.status == "diverged":
        step, lr = ended.summary["diverged_step"], ended.summary["diverged_lr"]
        reason = f"The loss was no longer finite at step {step}, at lr {lr:.3g}: the training has diverged."
    elif ended.status == "collapsed":
        reason = "The train loss ended no better than chance: the network has learned nothing."
    if reason is not None:
        show_note(reason)
    _show_training(run, ended.summary | {"reason": reason}, quiet, as_json, no_plot)
    if ended.status != "finished":
        raise typer.Exit(NOT_LEARNED)


def _with_max_lr_from(source: str, recipe: "Recipe", runs_dir: Path, force: bool, quiet: bool) -> "tuple[Recipe, str]":
    """Returns the recipe with the max_lr of a range test, and the absolute path of that test's run."""
    from onecycle_cli.cli.console import show_note
    from onecycle_cli.experiments.session import hardware_of
    from onecycle_cli.experiments.suggestions import with_max_lr_from

    precision = hardware_of(recipe).precision
    taken = with_max_lr_from(recipe, source, runs_dir=runs_dir, precision=precision, force=force)
    found = taken.suggestion
    then = "" if found.max_lr == found.then else f", read again; it said {found.then:g} then"
    if not quiet:
        show_note(f"max_lr {found.max_lr:g} from {taken.run.path}{then}.")
    if found.confidence == "low":
        show_note(f"The confidence in it is low. {found.reason}")
    return taken.recipe, str(taken.run.path.absolute())


def _show_training(run: "RunDir", summary: dict[str, Any], quiet: bool, as_json: bool, no_plot: bool) -> None:
    from onecycle_cli.cli.console import show_pairs
    from onecycle_cli.progress import duration
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
            loss = summary[f"{split}_loss"]  # in a summary that was read again, one that is not finite is None
            scores = f"{summary[f'{split}_accuracy']:.4f}  (loss {math.nan if loss is None else loss:.4f})"
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
    if not no_plot:
        show_curve(run, above=pairs)
    show_pairs(pairs)
