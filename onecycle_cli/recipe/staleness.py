"""Whether a range test still speaks for a recipe: the fields that change its curve, compared."""

from typing import Any

from onecycle_cli.recipe.fields import Recipe


def curve_settings(recipe: Recipe, precision: str) -> dict[str, Any]:
    """Every setting that changes the curve of a range test, by its dotted name; `precision` as it was resolved.

    The length of the run, the shape of the cycle and the seed do not: they change what is made of the curve, or which
    noise is on it.
    """
    settings = {f"data.{name}": value for name, value in recipe.data.model_dump().items() if name != "mirrors"}
    settings |= {f"model.{name}": value for name, value in recipe.model.model_dump().items()}
    settings |= {f"optimizer.{name}": value for name, value in recipe.optimizer.model_dump().items()}
    settings["find_lr.momentum"] = finder_momentum(recipe)
    settings["runtime.precision"] = precision
    return settings


def finder_momentum(recipe: Recipe) -> float:
    """The constant momentum of the range test: `find_lr.momentum`, or else the schedule's `max_momentum`."""
    momentum = recipe.find_lr.momentum
    return recipe.schedule.max_momentum if momentum is None else momentum


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """The settings that differ, each as `field: found there, wanted here`."""
    return [
        f"{field}: {found.get(field)} there, {wanted.get(field)} here"
        for field in sorted(found | wanted)
        if found.get(field) != wanted.get(field)
    ]
