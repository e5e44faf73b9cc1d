"""`find-lr`: runs the range test of a recipe."""

from typing import TYPE_CHECKING, Annotated

import typer

from onecycle_cli.cli.options import (
    RUNS_DIR,
    JsonOption,
    NameOption,
    NoPlotOption,
    Overrides,
    ProcessesOption,
    QuietOption,
    RecipeArgument,
    RepeatsOption,
    RunsDirOption,
    TrustCodeOption,
    load_recipe,
    on_ranks,
    trust_flag,
    with_overrides,
)
from onecycle_cli.cli.results import figure_line, json_if_it_fails, print_json, show_curve, train_command
from onecycle_cli.cli.suggest import show_doubt, suggestion_pairs

if TYPE_CHECKING:
    from onecycle_cli.analysis.lr_range import Suggestion
    from onecycle_cli.recipe import Recipe
    from onecycle_cli.run_dir.run import RunDir


def add_to(app: typer.Typer) -> None:
    """Adds the command to the root."""
    app.command("find-lr", epilog="Example: onecycle find-lr cifar10-resnet20 --weight-decay 5e-4")(find_lr)


@with_overrides
def find_lr(
    recipe: RecipeArgument,
    overrides: Overrides,
    mode: Annotated[str | None, typer.Option("--mode", help="find_lr.mode: exponential or linear.")] = None,
    valid_every: Annotated[
        int | None, typer.Option("--valid-every", help="find_lr.valid_every: score validation images every N steps.")
    ] = None,
    repeats: RepeatsOption = 1,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="SHARE",
            help="Also train short cycles around the suggestion, of at most SHARE times the steps "
            "of the planned training; above 0, at most 4.",
        ),
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="The same as --budget 0.25.")] = False,
    trust_code: TrustCodeOption = False,
    processes: ProcessesOption = None,
    runs_dir: RunsDirOption = RUNS_DIR,
    name: NameOption = None,
    no_plot: NoPlotOption = False,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Run the learning rate range test of a recipe and suggest a max_lr for one cycle.

    Exits with 4 if no number can be trusted. Then only --json prints to standard output, with max_lr null; a terminal
    gets the curve.
    """
    with on_ranks(processes) as ranks:
        from onecycle_cli.cli.console import Display, show_pairs
        from onecycle_cli.errors import NoSuggestionError
        from onecycle_cli.experiments import range_test
        from onecycle_cli.experiments.session import new_run
        from onecycle_cli.experiments.verification import budget_of
        from onecycle_cli.models import OwnCode
        from onecycle_cli.run_dir.files import LR_RANGE, LR_RANGE_FIGURE

        budget = budget_of(budget, verify=verify)
        loaded = ranks.together(lambda: load_recipe(recipe, overrides, runs_dir, mode=mode, valid_every=valid_every))
        display = Display(quiet=quiet)
        code = OwnCode(trust_code)
        session = new_run("find-lr", loaded, runs_dir=runs_dir, name=name, report=display, code=code, ranks=ranks)
        run = session.run
        with json_if_it_fails(run, as_json and not quiet, max_lr=None), display:
            suggestion = range_test.find_lr(loaded, session, repeats=repeats, budget=budget)
        if as_json and not quiet:
            print_json(run, vars(suggestion))
        if suggestion.max_lr is None:
            if not (quiet or as_json or no_plot):
                show_curve(run)
            raise NoSuggestionError(
                suggestion.refusal, _ways_on(run, loaded, suggestion, repeats, trust_code=trust_code)
            )
        show_doubt(suggestion, quiet=quiet, as_json=as_json)
        if quiet:
            print(f"{suggestion.max_lr:g}")
        elif not as_json:
            pairs = [
                *suggestion_pairs(suggestion),
                ("curve", str(run.path / LR_RANGE)),
                *figure_line(run, LR_RANGE_FIGURE),
                ("next", train_command(run, trust_code=trust_code)),
            ]
            if not no_plot:
                show_curve(run, above=pairs)
            show_pairs(pairs)


def _ways_on(run: "RunDir", recipe: "Recipe", suggestion: "Suggestion", repeats: int, *, trust_code: bool) -> str:
    """Returns what a person can do where a range test suggests nothing: train at the guess, test longer, change lrs."""
    from onecycle_cli.run_dir.facts import command_line
    from onecycle_cli.run_dir.files import LR_RANGE, LR_RANGE_FIGURE, RECIPE

    ways = []
    if guess := suggestion.typical_max_lr:
        words = ["train", str(run.path / RECIPE), "--max-lr", f"{guess:g}", *trust_flag(trust_code)]
        ways.append(f"Train at the guess: {command_line(words)}")
    several = "" if repeats > 1 else "--repeats 3 "
    ways.append(f"Test for longer: {several}--set find_lr.num_steps={2 * recipe.find_lr.num_steps}")
    ways.append("Test other lrs: --set find_lr.start_lr=LR --set find_lr.end_lr=LR")
    # Whether the figure is there already is not asked: all ranks have to say the same.
    return "\n".join([*ways, f"The curve: {run.path / LR_RANGE_FIGURE}, {run.path / LR_RANGE}"])
