"""`recipes`: lists, shows, copies and checks recipes."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    help="List, show, copy and check recipes.",
    invoke_without_command=True,
    rich_markup_mode=None,
    epilog="Example: onecycle recipes copy images my-photos.yaml",
)

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="A shipped recipe.")]


@app.callback()
def shipped(context: typer.Context) -> None:
    """List, show, copy and check recipes. Without a subcommand, list the shipped ones."""
    if context.invoked_subcommand is not None:
        return
    from onecycle_cli.cli.console import show_table
    from onecycle_cli.recipe import load, shipped_names, shipped_path

    show_table(("name", "description"), [(name, load(shipped_path(name)).description) for name in shipped_names()])


@app.command(epilog="Example: onecycle recipes show digits")
def show(name: NameArgument) -> None:
    """Print a shipped recipe."""
    from onecycle_cli.recipe import shipped_path

    print(shipped_path(name).read_text(encoding="utf-8"), end="")


@app.command(epilog="Example: onecycle recipes copy images my-photos.yaml")
def copy(
    name: NameArgument,
    path: Annotated[
        Path | None,
        typer.Argument(readable=False, metavar="[PATH]", help="The new file, or a folder for it; default: here."),
    ] = None,
) -> None:
    """Copy a shipped recipe to a new file. An existing file is never overwritten."""
    from onecycle_cli.cli.console import show_line
    from onecycle_cli.errors import InputError, naming
    from onecycle_cli.recipe import shipped_path

    source = shipped_path(name)
    target = path or Path()
    if target.is_dir():
        target = target / source.name
    try:
        with naming(target), target.open("x", encoding="utf-8") as file:
            file.write(source.read_text(encoding="utf-8"))
    except FileExistsError:
        raise InputError(f"{target} exists already.", "Name another file.") from None
    except FileNotFoundError:
        raise InputError(f"There is no folder {target.parent}.", "Make it first.") from None
    show_line(target)


@app.command(epilog="Example: onecycle recipes check my-photos.yaml")
def check(paths: Annotated[list[str], typer.Argument(metavar="PATH...", help="Recipe files.")]) -> None:
    """Check recipes, and name everything that is wrong in each."""
    from onecycle_cli.cli.console import show_error, show_line
    from onecycle_cli.errors import InputError
    from onecycle_cli.recipe import find, load

    wrong = False
    for path in paths:
        try:
            load(find(path))
        except InputError as error:
            wrong = True
            show_error(error)
        else:
            show_line(f"{path}: ok")
    if wrong:
        raise typer.Exit(InputError.exit_code)


@app.command(epilog="Example: onecycle recipes schema > onecycle.schema.json")
def schema() -> None:
    """Print the JSON Schema of recipes, for editors."""
    import json

    from onecycle_cli.recipe import Recipe

    print(json.dumps(Recipe.model_json_schema(), indent=2))
