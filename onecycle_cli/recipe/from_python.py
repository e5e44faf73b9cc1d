"""Loading a recipe from Python: by name or path, with overrides as Python values."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onecycle_cli.recipe.fields import Recipe
from onecycle_cli.recipe.loading import load, varied
from onecycle_cli.recipe.shipped import find


def load_recipe(recipe: str | Path, overrides: Mapping[str, Any] | None = None) -> Recipe:
    """Loads and validates a recipe.

    Args:
        recipe: The path of a YAML file, or the name of a shipped recipe, such as "digits".
        overrides: Values that replace those in the file, by dotted field name: `{"schedule.epochs": 5, "seed": 1}`.

    Returns:
        The recipe, frozen: `recipe.schedule.epochs` and so on. Relative paths in it count from the current folder, and
        are made absolute.

    Raises:
        InputError: There is no such recipe, or a field is wrong. The message lists each wrong field with its line or
            value, and the most similar known name.
    """
    loaded = load(find(str(recipe)))
    if not overrides:
        return loaded
    values = {field: str(value) if isinstance(value, Path) else value for field, value in overrides.items()}
    return varied(loaded, values, str(recipe))
