"""Our own networks by their names, from the settings of a recipe."""

import pytest

from onecycle_cli.models.onecycle import CIFAR_BLOCKS, OnecycleSpec, build, own_arguments, trained_before
from onecycle_cli.recipe.model_fields import OnecycleModelSettings

# mypy holds the recipe's section to what this source asks for.
SPEC: OnecycleSpec = OnecycleModelSettings(architecture="resnet20", width=0.5, shortcut="A", dropout=0.0)


def test_the_settings_of_a_recipe_say_which_network_is_built() -> None:
    net = build("resnet20", **own_arguments(SPEC), dropout=0.0, channels=1, classes=5)
    assert net.get_parameter("stem.0.weight").shape == (8, 1, 3, 3)
    assert net.get_parameter("head.weight").shape == (5, 32)
    assert not any("shortcut" in name for name, _ in net.named_parameters())  # A has none


def test_the_depth_is_in_the_name() -> None:
    assert {name: 6 * blocks + 2 for name, blocks in CIFAR_BLOCKS.items()} == {
        name: int(name.removeprefix("resnet")) for name in CIFAR_BLOCKS
    }


def test_there_are_no_weights_to_start_from() -> None:
    assert trained_before(SPEC, pytest.fail) is None
