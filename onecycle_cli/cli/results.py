"""Printing that all commands with a run share: results as JSON, the path of a figure, the next command."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onecycle_cli.cli.options import trust_flag

if TYPE_CHECKING:
    from onecycle_cli.run_dir.run import RunDir

LEAST_CURVE_ROWS, MOST_CURVE_ROWS = 8, 16
"""The height of a curve, with its legend and axis: as the screen has room for it above the result."""


@contextmanager
def json_if_it_fails(run: "RunDir", as_json: bool, **nothing: None) -> Iterator[None]:
    """With `--json`, also prints an object if the block raises an error: the `nothing` values and the reason."""
    from onecycle_cli.errors import OnecycleError

    try:
        yield
    except OnecycleError as error:
        if as_json:
            print_json(run, {**nothing, "reason": error.what})
        raise


def print_json(run: "RunDir", result: dict[str, Any]) -> None:
    """Prints a run's result as one JSON object."""
    from onecycle_cli.cli.console import show_json

    show_json({"run": run.path} | result)


def show_curve(run: "RunDir", above: Sequence[tuple[str, str]] = ()) -> None:
    """Draws the curve of a run above the names and values of its result, if standard output is a terminal.

    A failure becomes a note. Where nothing is drawn, no drawing library is imported.
    """
    from onecycle_cli.cli.console import is_at_terminal, rows_left, screen, show_note
    from onecycle_cli.errors import OnecycleError

    if not is_at_terminal():
        return
    try:
        from onecycle_cli.experiments.terminal_curve import curve_lines

        rows = rows_left(above) - 1  # an empty line is between the two
        lines = curve_lines(run, screen(min(max(rows, LEAST_CURVE_ROWS), MOST_CURVE_ROWS)))
    except Exception as error:  # whatever it is, it does not cost the result
        what = error.what if isinstance(error, OnecycleError) else str(error) or type(error).__name__
        show_note(f"The curve could not be drawn: {what}")
        return
    if lines:
        print("\n".join(lines), end="\n\n")


def figure_line(run: "RunDir", name: str) -> list[tuple[str, str]]:
    """Returns the line with the path of a figure; no line if it could not be drawn."""
    return [("figure", str(run.path / name))] if (run.path / name).is_file() else []


def train_command(run: "RunDir", *, trust_code: bool) -> str:
    """Returns the command that trains with the settings and the suggestion of a range test."""
    from onecycle_cli.run_dir.facts import command_line
    from onecycle_cli.run_dir.files import RECIPE

    words = ["train", str(run.path / RECIPE), "--max-lr-from", str(run.path), *trust_flag(trust_code)]
    return command_line(words)
