"""`runs`: lists runs with status and result, and the suggestions that fit a recipe."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onecycle_cli.cli.options import (
    NO_OVERRIDES,
    RUNS_DIR,
    JsonOption,
    Overrides,
    RunsDirOption,
    load_recipe,
    with_overrides,
)

if TYPE_CHECKING:
    from onecycle_cli.recipe import Recipe
    from onecycle_cli.run_dir.run import RunDir

Line = tuple[str, str, str]

RESULTS = {
    "find-lr": ("max_lr", ".3g"),
    "train": ("valid_accuracy", ".4f"),
    "sweep": ("finished", "d"),
    "sweep-wd": ("weight_decay", "g"),
    "evaluate": ("accuracy", ".4f"),
    "find-batch-size": ("batch_size", "d"),
    "tune": ("max_lr", ".3g"),
}
"""The most telling number of each command's summary, and its format."""

MOST_DIFFERENCES = 5
"""The most differences that are listed below a suggestion. For other images there are a dozen, which nobody reads."""


app = typer.Typer(
    invoke_without_command=True,
    rich_markup_mode=None,
    epilog="Example: onecycle runs --for cifar10-resnet20 --weight-decay 5e-4",
)


@app.callback()
@with_overrides
def listed(
    context: typer.Context,
    recipe: Annotated[
        str | None,
        typer.Option("--for", metavar="RECIPE", help="List the suggested max_lrs, and which of them fit this recipe."),
    ] = None,
    overrides: Overrides = NO_OVERRIDES,
    runs_dir: RunsDirOption = RUNS_DIR,
    as_json: JsonOption = False,
) -> None:
    """List the runs with their status and result, oldest first.

    With --for, list the range tests that suggest a max_lr: those of find-lr, of sweeps, and of trainings with
    --max-lr auto. A suggestion fits if its test ran with the recipe's settings; epochs and seed may differ.
    """
    from onecycle_cli.cli.console import show_json, show_table
    from onecycle_cli.errors import InputError

    if context.invoked_subcommand is not None:
        _must_be_bare(context)
        return
    if recipe is not None:
        rows = _suggestions(load_recipe(recipe, overrides, runs_dir), runs_dir)
        columns, lines = ("run", "max_lr", "fits"), [line for row in rows for line in _suggestion(row)]
    elif overrides != NO_OVERRIDES:
        raise InputError("There is no recipe to change.", "Name one with --for RECIPE.")
    else:
        rows = _results(runs_dir)
        columns, lines = ("run", "status", "result"), [_result(row) for row in rows]
    if as_json:
        show_json(rows)
        return
    show_table(columns, lines)


def _must_be_bare(context: typer.Context) -> None:
    """Refuses options of the list in front of a subcommand, which would not see them."""
    from onecycle_cli.errors import InputError

    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            option, words = parameter.opts[0], f"onecycle runs {context.invoked_subcommand}"
            raise InputError(
                f"{option} in front of '{context.invoked_subcommand}' is an option of the list of runs.",
                f"Write what `{words}` has behind it; `{words} --help` lists its options.",
            )


def _results(runs_dir: Path) -> list[dict[str, Any]]:
    from onecycle_cli.errors import InputError
    from onecycle_cli.run_dir.finding import all_runs

    rows = []
    for run in all_runs(runs_dir):
        row = _known(run)
        result, _ = RESULTS[row["command"]]
        value = None
        with suppress(InputError):  # a summary that is damaged
            value = run.summary.get(result)
        rows.append(row | {"result": result, "value": value})
    return rows


def _result(row: dict[str, Any]) -> Line:
    name, form = RESULTS[row["command"]]
    return row["run"], row["status"], "" if row["value"] is None else f"{name} {row['value']:{form}}"


def _suggestions(recipe: "Recipe", runs_dir: Path) -> list[dict[str, Any]]:
    from onecycle_cli.errors import InputError
    from onecycle_cli.experiments.session import hardware_of
    from onecycle_cli.experiments.suggestions import stale_settings, suggested_max_lr
    from onecycle_cli.run_dir.finding import suggesting_runs

    precision = hardware_of(recipe).precision
    rows = []
    for run in suggesting_runs(runs_dir):
        with suppress(InputError):  # an old run whose settings stand in a recipe that is none any more
            stale = stale_settings(run, recipe, precision)
            saved = suggested_max_lr(run, recipe)
            max_lr = saved.then if stale else saved.max_lr
            rows.append(_known(run) | {"max_lr": max_lr, "fits": not stale, "differences": stale})
    return rows


def _suggestion(row: dict[str, Any]) -> list[Line]:
    """Returns a line for the run, and lines with the differences below."""
    below = [str(difference) for difference in row["differences"]]
    if len(below) > MOST_DIFFERENCES:
        below = [f"{len(below)} settings differ: --json has them"]
    first = (row["run"], f"{row['max_lr']:g}", "yes" if row["fits"] else "no")
    return [first, *((f"  {words}", "", "") for words in below)]


def _known(run: "RunDir") -> dict[str, Any]:
    facts = run.facts
    known = {name: facts[name] for name in ("command", "recipe", "started")}
    return {"run": str(run.path), "status": run.status} | known
