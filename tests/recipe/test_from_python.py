"""Recipes loaded from Python."""

from pathlib import Path
from typing import Any

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.recipe import load, shipped_path
from onecycle_cli.recipe.from_python import load_recipe

DIGITS = shipped_path("digits")


@pytest.mark.parametrize("named", ["digits", str(DIGITS), DIGITS])
def test_a_recipe_is_named_by_its_name_or_its_path(named: str | Path) -> None:
    assert load_recipe(named) == load(DIGITS)


def test_overrides_replace_values_and_nothing_else() -> None:
    recipe = load_recipe("digits", {"schedule.epochs": 3, "optimizer.weight_decay": 1e-3, "seed": 7})
    assert (recipe.schedule.epochs, recipe.optimizer.weight_decay, recipe.seed) == (3, 1e-3, 7)
    again = load_recipe("digits", {"schedule.epochs": 15, "optimizer.weight_decay": 1e-4, "seed": 0})
    assert again == load_recipe("digits")


def test_a_path_may_be_a_path(tmp_path: Path) -> None:
    values = {"data.source": "image_folder", "data.path": tmp_path / "photos", "data.channels": 3}
    assert load_recipe("digits", values).data.model_dump()["path"] == str(tmp_path / "photos")


@pytest.mark.parametrize(
    ("recipe", "overrides", "says"),
    [
        ("digit", {}, r"no shipped recipe 'digit'\.\nDid you mean digits"),
        ("nowhere/mine.yaml", {}, "There is no recipe at nowhere/mine.yaml"),
        ("digits", {"schedule.epoch": 3}, "schedule.epoch=3.*did you mean 'schedule.epochs'|did you mean 'epochs'"),
        ("digits", {"schedul.epochs": 3}, "no section 'schedul'.*did you mean 'schedule'"),
        ("digits", {"schedule.epochs": 0, "seed": "x"}, r"(?s)schedule\.epochs=0.*seed=x|seed=x.*schedule\.epochs=0"),
    ],
)
def test_what_is_wrong_is_told_with_the_nearest_name(recipe: str, overrides: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        load_recipe(recipe, overrides)
