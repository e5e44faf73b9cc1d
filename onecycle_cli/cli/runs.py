"""`runs`: lists runs with status and result, and the suggestions that fit a recipe. Subcommands: `cli/runs_*.py`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from onecycle_cli.cli.options import (
    NO_OVERRIDES,
    RUNS_DIR,
    CsvOption,
    JsonOption,
    Overrides,
    RunsDirOption,
    load_recipe,
    must_be_new,
    must_be_one_output,
    since_in,
    with_overrides,
)
from onecycle_cli.run_dir.files import MAIN_RESULTS

if TYPE_CHECKING:
    from onecycle_cli.recipe import Recipe
    from onecycle_cli.run_dir.listing import Filter, ListedRun
    from onecycle_cli.run_dir.run import RunDir

Line = tuple[str, str, str]

STATUSES = ("running", "finished", "diverged", "collapsed", "interrupted", "failed")

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
    recipes: Annotated[
        list[str] | None,
        typer.Option("--recipe", metavar="NAME", help="Only runs of the recipe of this name. Repeatable: any of them."),
    ] = None,
    statuses: Annotated[
        list[str] | None,
        typer.Option("--status", metavar="STATUS", help=f"Only runs that are {', '.join(STATUSES)}. Repeatable."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="Only runs started since: 2h, 3d, 2w, 2026-03-31, ...T14:30."),
    ] = None,
    labels: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="TEXT", help="Only runs with this label. Repeatable: all of them."),
    ] = None,
    sort: Annotated[
        str | None,
        typer.Option("--sort", metavar="COLUMN", help="Sort by a column of the CSV file, such as valid_accuracy."),
    ] = None,
    reverse: Annotated[bool, typer.Option("--reverse", help="List the highest, or the newest, first.")] = False,
    recipe: Annotated[
        str | None,
        typer.Option("--for", metavar="RECIPE", help="List the suggested max_lrs, and which of them fit this recipe."),
    ] = None,
    overrides: Overrides = NO_OVERRIDES,
    csv: CsvOption = None,
    runs_dir: RunsDirOption = RUNS_DIR,
    as_json: JsonOption = False,
) -> None:
    """List the runs with their status and result, oldest first. Subcommands label, remove and move them.

    Filters leave out runs; --sort takes any single value of the summaries, and runs without it come last. The CSV file
    has all of these values, and --json all that the files say.

    With --for, list the range tests that suggest a max_lr: those of find-lr, of sweeps, and of trainings with
    --max-lr auto. A suggestion fits if its test ran with the recipe's settings; epochs and seed may differ.
    """
    from onecycle_cli.cli.console import show_json, show_table
    from onecycle_cli.errors import InputError

    if context.invoked_subcommand is not None:
        _must_be_bare(context)
    elif recipe is None:
        if overrides != NO_OVERRIDES:
            raise InputError(
                "--set, --epochs and the like change a recipe, and none is named.", "Name one with --for RECIPE."
            )
        wanted = _filter(recipes or [], statuses or [], labels or [], since)
        _list(runs_dir, wanted, sort, reverse=reverse, csv=csv, as_json=as_json)
    elif recipes or statuses or labels or since or sort or reverse or csv:
        what = "--for lists the range tests that suggest a max_lr, all of them, as a table or with --json."
        raise InputError(what, "Leave out the filters, --sort, --reverse and --csv.")
    else:
        rows = _suggestions(load_recipe(recipe, overrides, runs_dir), runs_dir)
        if as_json:
            show_json(rows)
        else:
            show_table(("run", "max_lr", "fits"), [line for row in rows for line in _suggestion(row)])


def _must_be_bare(context: typer.Context) -> None:
    """Refuses options of the list in front of a subcommand, which would not see them."""
    from onecycle_cli.errors import InputError

    for parameter in context.command.params:
        source = context.get_parameter_source(parameter.name or "")
        if source is not None and source.name == "COMMANDLINE":
            option, words = parameter.opts[0], f"onecycle runs {context.invoked_subcommand}"
            raise InputError(
                f"{option} in front of '{context.invoked_subcommand}' is an option of the list of runs.",
                f"Write it behind `{words}`, if that has it: `{words} --help` lists its options.",
            )


def _filter(recipes: list[str], statuses: list[str], labels: list[str], since: str | None) -> "Filter":
    from onecycle_cli.errors import InputError
    from onecycle_cli.run_dir.annotations import checked_label
    from onecycle_cli.run_dir.listing import Filter

    for status in statuses:
        if status not in STATUSES:
            raise InputError(f"--status {status} is no status of a run.", f"It is one of {', '.join(STATUSES)}.")
    begun = None if since is None else since_in(since, datetime.now(UTC))
    return Filter(recipes, statuses, [checked_label(label) for label in labels], begun)


def _list(runs_dir: Path, wanted: "Filter", sort: str | None, *, reverse: bool, csv: str | None, as_json: bool) -> None:
    """Prints the runs that are wanted as a table, as CSV or as JSON; with `reverse` and no `sort` the newest first."""
    from onecycle_cli.cli.console import show_csv, show_json, show_note, show_table
    from onecycle_cli.run_dir.listing import column_names, listed_runs, must_have_column, sort_by
    from onecycle_cli.run_dir.writing import to_csv, write_new

    must_be_one_output(csv, as_json=as_json)
    must_be_new(None, csv)
    known = listed_runs(runs_dir, lambda error: show_note(error.what))
    if sort is not None:
        must_have_column(sort, known)
    kept = [run for run in known if wanted.keeps(run)]
    runs = sort_by(sort, kept, reverse=reverse) if sort is not None else kept[:: -1 if reverse else 1]
    if known and not runs:
        show_note(wanted.explain(known))
    if csv is not None:
        names = column_names(kept or known)
        text = to_csv(names, [[run.columns.get(name) for name in names] for run in runs])
        if csv == "-":
            show_csv(text)
            return
        write_new(Path(csv), lambda beside: beside.write_text(text, encoding="utf-8"))
    if as_json:
        show_json([_row(run) for run in runs])
    else:
        columns = _columns(runs, sort)
        show_table([*columns], list(zip(*columns.values(), strict=True)))


def _row(run: "ListedRun") -> dict[str, Any]:
    """Returns all that is known of a run. `result` and `value` are the most telling number of its summary."""
    facts = {name: run.facts.get(name) for name in ("command", "recipe", "started", "ended", "seconds", "seed")}
    result, _ = MAIN_RESULTS.get(run.facts["command"], (None, ""))
    value = None if result is None else run.summary.get(result)
    known = {"run": str(run.run.path), "status": run.status} | facts | {"result": result, "value": value}
    return known | vars(run.annotations) | {"summary": run.summary}


def _columns(runs: "list[ListedRun]", sort: str | None) -> dict[str, list[str]]:
    """Returns the columns of the table: that by which it is sorted too, and labels if a run has any."""
    columns = {
        "run": [str(run.run.path) for run in runs],
        "status": [str(run.status) for run in runs],
        "result": [_result(run) for run in runs],
    }
    if sort is not None and sort not in (*columns, "labels") and not _is_result(sort, runs):
        columns[sort] = [_shown(run.columns.get(sort)) for run in runs]
    if any(run.annotations.labels for run in runs):
        columns["labels"] = [", ".join(run.annotations.labels) for run in runs]
    return columns


def _is_result(column: str, runs: "list[ListedRun]") -> bool:
    """Whether each of the runs that has the column shows it as its result."""
    having = [run for run in runs if run.columns.get(column) is not None]
    return bool(having) and all(MAIN_RESULTS.get(run.facts["command"], ("",))[0] == column for run in having)


def _result(run: "ListedRun") -> str:
    name, form = MAIN_RESULTS.get(run.facts["command"], ("", ""))
    value = run.summary.get(name)
    if value is None and name in run.summary:
        return f"no {name}"
    if not isinstance(value, int | float) or (form == "d" and isinstance(value, float)):
        return ""  # there is none, or the summary is damaged
    return f"{name} {value:{form}}"


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)


def _suggestions(recipe: "Recipe", runs_dir: Path) -> list[dict[str, Any]]:
    from onecycle_cli.cli.console import show_note
    from onecycle_cli.errors import InputError
    from onecycle_cli.experiments.session import hardware_of
    from onecycle_cli.experiments.suggestions import stale_settings, suggested_max_lr
    from onecycle_cli.run_dir.finding import suggesting_runs

    precision = hardware_of(recipe).precision
    rows = []
    for run in suggesting_runs(runs_dir, lambda error: show_note(error.what)):
        try:
            stale = stale_settings(run, recipe, precision)
            saved = suggested_max_lr(run, recipe)
        except InputError as error:  # it is damaged, or its settings stand in a recipe that is none any more
            show_note(error.what)
            continue
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
