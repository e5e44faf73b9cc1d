"""`diagnose`: reads the curves of a training."""

from typing import TYPE_CHECKING, Annotated

import typer

from onecycle_cli.cli.options import RUNS_DIR, JsonOption, RunsDirOption

if TYPE_CHECKING:
    from onecycle_cli.analysis.diagnosis import Statement


def add_to(app: typer.Typer) -> None:
    """Adds the command to the root."""
    app.command("diagnose", epilog="Example: onecycle diagnose my-run --range-test my-find-lr-run")(diagnose)


def diagnose(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN...", help="Folders of trainings, or their names in the runs folder.")
    ],
    range_test: Annotated[
        str | None,
        typer.Option("--range-test", metavar="RUN", help="Judge max_lr by this range test of the same settings."),
    ] = None,
    runs_dir: RunsDirOption = RUNS_DIR,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print only the names of the rules.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Explain the curves of a training: its lr, its regularization, the length of its cycle.

    Each statement has a rule, a place, numbers and one piece of advice; the most important comes first. An unfinished
    run is read as far as it came. With several runs, --quiet prints the run before each rule.
    """
    from onecycle_cli.analysis.diagnosis import diagnose as read
    from onecycle_cli.cli.console import show_json, show_line, show_note, show_pairs
    from onecycle_cli.experiments.diagnose import read_training
    from onecycle_cli.run_dir.finding import find_run

    test = None if range_test is None else find_run(runs_dir, range_test)
    trainings = {run.path: read_training(run, test) for run in (find_run(runs_dir, text) for text in runs)}
    if as_json:
        rows = [
            {"run": path, "status": run.status, "epochs": len(run.epochs), "statements": read(run)}
            for path, run in trainings.items()
        ]
        show_json({"runs": rows})
        return
    for number, (path, run) in enumerate(trainings.items()):
        statements = read(run)
        if quiet:
            if not statements:
                show_note(f"The curves of {path} say nothing.")
            for statement in statements:
                show_line(statement.rule if len(trainings) == 1 else f"{path}: {statement.rule}")
            continue
        if number:
            print()
        stood = f"{path}: {run.status}, {len(run.epochs)} of {run.settings.epochs} epochs"
        more = "The curves say nothing more." if statements else "The curves say nothing."
        show_pairs([("run", stood), *(pair for found in statements for pair in _lines(found)), ("", more)])


def _lines(found: "Statement") -> list[tuple[str, str]]:
    """Formats a statement: where and what, and the advice below."""
    return [(found.rule, f"{str(found.place).capitalize()}. {found.text}"), ("", found.advice)]
