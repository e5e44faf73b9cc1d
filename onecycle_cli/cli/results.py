"""Printing that all commands with a run share: results as JSON, the path of a figure, the next command."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from onecycle_cli.cli.options import trust_flag

if TYPE_CHECKING:
    from onecycle_cli.run_dir.run import RunDir


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


def figure_line(run: "RunDir", name: str) -> list[tuple[str, str]]:
    """Returns the line with the path of a figure; no line if it could not be drawn."""
    return [("figure", str(run.path / name))] if (run.path / name).is_file() else []


def train_command(run: "RunDir", *, trust_code: bool) -> str:
    """Returns the command that trains with the settings and the suggestion of a range test."""
    from onecycle_cli.run_dir.facts import command_line
    from onecycle_cli.run_dir.files import RECIPE

    words = ["train", str(run.path / RECIPE), "--max-lr-from", str(run.path), *trust_flag(trust_code)]
    return command_line(words)
