"""`compare`: shows runs side by side, with the settings that differ and the results."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from onecycle_cli.cli.options import (
    RUNS_DIR,
    CsvOption,
    JsonOption,
    PlotOption,
    RunsArgument,
    RunsDirOption,
    draw_first,
    must_be_new,
    must_be_one_output,
)

if TYPE_CHECKING:
    from onecycle_cli.analysis.comparison import Run, Spread

Column = tuple[str, list[str]]
"""The name of a column, and its cell for each run."""

FORMATS = {
    **dict.fromkeys(("max_lr", "lowest_max_lr", "highest_max_lr"), ".3g"),
    **dict.fromkeys(("expected_points_lost", "points_lost_90", "seconds"), ".1f"),
}
"""The formats of results that are floats, but neither losses nor accuracies."""


def add_to(app: typer.Typer) -> None:
    """Adds the command to the root."""
    app.command("compare", epilog="Example: onecycle compare runs/* --plot compared.png")(compare)


def compare(
    named: RunsArgument,
    csv: CsvOption = None,
    plot: PlotOption = None,
    runs_dir: RunsDirOption = RUNS_DIR,
    as_json: JsonOption = False,
) -> None:
    """Compare runs: the settings that differ and the results, as a table and a figure.

    A sweep stands for the runs inside it, and an unfinished run for its results so far. Settings that are the same in
    all runs are listed below the table. For runs that differ only in their seed, the mean, the standard deviation and
    the standard error of the mean are shown too, to judge whether a difference is noise.
    """
    from onecycle_cli.analysis.comparison import differing, groups, labels, over_seeds, short_names
    from onecycle_cli.cli.console import show_csv, show_json, show_note
    from onecycle_cli.experiments.compare import RESULTS, draw_comparison, read_runs
    from onecycle_cli.run_dir.writing import to_csv, write_new

    must_be_one_output(csv, as_json=as_json)
    must_be_new(plot, csv)
    runs, left_out = read_runs(runs_dir, named)
    fields = differing(runs)
    names = short_names(fields, taken=("run", "status", *(name for name in RESULTS if name != "max_lr")))
    error = None
    if plot is not None:
        drawn, error = draw_first(lambda report: draw_comparison(plot, runs, labels(runs, fields, names), report))
        left_out += drawn or []
    for one in left_out:
        show_note(f"Left out: {one.reason}")
    if csv is not None:
        rows = [
            (run.path, run.command, run.status, *map(run.settings.get, fields), *run.results.values()) for run in runs
        ]
        text = to_csv(("run", "command", "status", *fields, *RESULTS), rows)
        if csv == "-":
            show_csv(text)
        else:
            write_new(Path(csv), lambda beside: beside.write_text(text, encoding="utf-8"))
    if csv != "-":
        if as_json:
            spreads = over_seeds(groups(runs, fields))
            show_json({"runs": runs, "differing": fields, "over_seeds": spreads, "left_out": left_out})
        else:
            files = [("table", csv), ("figure", None if error else plot)]
            _show_all(runs, names, [(name, str(path)) for name, path in files if path is not None])
    if error is not None:
        raise error


def _show_all(runs: "Sequence[Run]", names: dict[str, str], files: Sequence[tuple[str, str]]) -> None:
    from onecycle_cli.cli.console import show_pairs

    for number, command in enumerate(dict.fromkeys(run.command for run in runs)):
        if number:
            print()
        _show([run for run in runs if run.command == command], names)
    if files:
        print()
        show_pairs(files)


def _show(runs: "Sequence[Run]", names: dict[str, str]) -> None:
    """Prints the runs of one command. `names` maps the settings that differ, among all runs, to their short names."""
    from onecycle_cli.analysis.comparison import distinct_names, groups, over_seeds
    from onecycle_cli.cli.console import show_pairs, show_wide_table

    short, pattern = distinct_names([run.path for run in runs])
    # The max_lr of a training is among its results.
    columns = [(names[field], _settings(field, runs)) for field in names if field != "schedule.max_lr"]
    columns.append(("status", [run.status for run in runs]))
    columns += [(name, [_shown(name, run.results[name]) for run in runs]) for name in runs[0].results]
    varying = [("run", short), *(column for column in columns if len(set(column[1])) > 1)]
    if len(runs) > 1:
        show_wide_table([name for name, _ in varying], list(zip(*(cells for _, cells in varying), strict=True)))
        print()
    spreads = over_seeds(groups(runs, list(names)))
    if spreads:
        _show_spreads(spreads, names)
        print()
    same = [(name, cells[0]) for name, cells in columns if len(set(cells)) == 1 and cells[0]]
    alike = [("settings", "the same in all")] if len(runs) > 1 and not names else []
    show_pairs([(runs[0].command, pattern if len(runs) > 1 else runs[0].path), *alike, *same])


def _settings(field: str, runs: "Sequence[Run]") -> list[str]:
    from onecycle_cli.analysis.comparison import distinct_names
    from onecycle_cli.recipe import as_written

    cells = [as_written(run.settings[field]) if field in run.settings else "" for run in runs]
    return distinct_names(cells)[0] if field == "data.path" else cells


def _show_spreads(spreads: "Sequence[Spread]", names: dict[str, str]) -> None:
    from onecycle_cli.cli.console import show_wide_table
    from onecycle_cli.recipe import as_written

    cells = {field: [as_written(spread.settings.get(field, "")) for spread in spreads] for field in names}
    told = {names[field]: column for field, column in cells.items() if len(set(column)) > 1}
    rows = []
    for number, spread in enumerate(spreads):
        seeds = str(spread.n) if spread.n == spread.runs else f"{spread.n} of {spread.runs}"
        numbers = (spread.mean, spread.standard_deviation, spread.standard_error)
        shown = [_shown(spread.result, value) for value in numbers]
        rows.append([*(column[number] for column in told.values()), spread.result, seeds, *shown])
    show_wide_table([*told, "result", "seeds", "mean", "standard_deviation", "standard_error"], rows)


def _shown(name: str, value: Any) -> str:
    return f"{value:{FORMATS.get(name, '.4f')}}" if isinstance(value, float) else "" if value is None else str(value)
