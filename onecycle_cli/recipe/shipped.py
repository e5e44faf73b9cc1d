"""The recipes that come with the package, and finding a recipe by path or name."""

import difflib
from pathlib import Path

from onecycle_cli.errors import InputError


def _shipped_folder() -> Path:
    """Returns the folder of the shipped recipes: inside the package in a wheel, next to it in a checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "recipes"
    return inside if inside.is_dir() else package.parent / "recipes"


def shipped_names() -> list[str]:
    """Returns the names of the shipped recipes, sorted."""
    return sorted(path.stem for path in _shipped_folder().glob("*.yaml"))


def shipped_path(name: str) -> Path:
    """Returns the path of the shipped recipe `name`; `InputError` with similar names if there is none."""
    names = shipped_names()
    if name not in names:
        near = difflib.get_close_matches(name, names, n=3)
        raise InputError(
            f"There is no shipped recipe '{name}'.",
            f"Did you mean {' or '.join(near)}?" if near else "`onecycle recipes` lists them.",
        )
    return _shipped_folder() / f"{name}.yaml"


def find(recipe: str) -> Path:
    """Returns the path of a recipe, given by path or by the name of a shipped recipe. `InputError` if there is none."""
    path = Path(recipe).expanduser()
    if path.is_file():
        return path
    if recipe in shipped_names():
        return shipped_path(recipe)  # even if a folder has this name, such as the folder of the images
    if path.is_dir():
        raise InputError(f"{path} is a folder, not a recipe.", "Name the YAML file in it.")
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        near = difflib.get_close_matches(path.stem, shipped_names(), n=1)
        fix = f"`onecycle recipes copy {near[0]} {path}` creates it from the shipped recipe." if near else None
        raise InputError(f"There is no recipe at {path}.", fix or "`onecycle recipes` lists the shipped ones.")
    return shipped_path(recipe)
