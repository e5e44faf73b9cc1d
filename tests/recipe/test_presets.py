"""Presets are sweeps over fields that a recipe has."""

from collections.abc import Callable

import pytest

from onecycle_cli.recipe import Recipe, varied
from onecycle_cli.recipe.presets import PRESETS


@pytest.mark.parametrize("name", PRESETS)
def test_every_cell_of_a_preset_is_a_recipe_of_its_own(tiny: Callable[..., Recipe], name: str) -> None:
    recipes = [varied(tiny(), values, name) for values in PRESETS[name]]
    assert all(one != other for i, one in enumerate(recipes) for other in recipes[:i])


def test_the_momentums_are_smiths() -> None:
    values = [tuple(cell.values()) for cell in PRESETS["momentum"]]
    assert values == [(0.99, 0.99), (0.97, 0.97), (0.95, 0.95), (0.9, 0.9), (0.95, 0.85)]
