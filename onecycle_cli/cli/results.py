"""What commands that make a run share: the result as JSON, the line of a figure, the command that comes next."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onecycle_cli.run_dir.run import RunDir


@contextmanager
def json_if_it_fails(run: "RunDir", as_json: bool, **nothing: None) -> Iterator[None]:
    """With `--json`, prints an object for a run that ends in an error too: what it has no value for, and the reason."""
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
    """Where the figure is; nothing where it could not be drawn."""
    return [("figure", str(run.path / name))] if (run.path / name).is_file() else []


def train_command(run: "RunDir") -> str:
    """The training that follows a range test, under exactly its settings."""
    from onecycle_cli.run_dir.facts import command_line
    from onecycle_cli.run_dir.files import RECIPE

    return command_line(["train", str(run.path / RECIPE), "--max-lr-from", str(run.path)])
