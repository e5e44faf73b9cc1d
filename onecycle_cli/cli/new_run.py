"""How every command that makes a run begins, how `--json` prints its result, and the command that comes next."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from onecycle_cli.recipe import Recipe
    from onecycle_cli.run_dir.run import RunDir
    from onecycle_cli.training.hardware import Hardware


def go_on(command: str, recipe: "Recipe", runs_dir: Path, name: str) -> "tuple[Hardware, RunDir]":
    """As `start`, but where the folder is there already, with a run of this command, that goes on."""
    from onecycle_cli.run_dir.files import RUN
    from onecycle_cli.run_dir.run import RunDir
    from onecycle_cli.training.hardware import resolve_hardware

    run = RunDir(runs_dir / name)
    if not (run.path / RUN).is_file() or run.facts["command"] != command:
        return start(command, recipe, runs_dir, name)
    run.resume()
    return resolve_hardware(recipe.runtime.device, recipe.runtime.precision), run


def start(command: str, recipe: "Recipe", runs_dir: Path, name: str | None, **facts: Any) -> "tuple[Hardware, RunDir]":
    """The machine to run on and a new folder for the run, whose `run.json` also holds `facts`."""
    import sys

    from onecycle_cli.experiments.prepared_recipe import hardware_facts
    from onecycle_cli.recipe import to_yaml
    from onecycle_cli.run_dir.facts import command_line
    from onecycle_cli.run_dir.run import RunDir
    from onecycle_cli.training.hardware import resolve_hardware

    hardware = resolve_hardware(recipe.runtime.device, recipe.runtime.precision)
    facts = facts | {"command_line": command_line(sys.argv[1:]), "seed": recipe.seed} | hardware_facts(hardware)
    run = RunDir.create(
        runs_dir, command=command, recipe_name=recipe.name, recipe_yaml=to_yaml(recipe), facts=facts, name=name
    )
    return hardware, run


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
