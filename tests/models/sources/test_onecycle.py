"""Our own networks by their names, from the settings of a recipe."""

from typing import Any

import pytest
from torch import nn

from onecycle_cli.models import NO_CODE
from onecycle_cli.models.sources.onecycle import (
    CIFAR_BLOCKS,
    OnecycleSpec,
    build,
    in_words,
    own_arguments,
    trained_before,
)
from onecycle_cli.recipe.model_fields import OnecycleModelSettings

PLAIN = OnecycleModelSettings(architecture="resnet20", width=0.5, shortcut="A", dropout=0.0)
SPEC: OnecycleSpec = PLAIN  # mypy holds the recipe's section to what this source asks for


def built(spec: OnecycleSpec) -> nn.Module:
    own: dict[str, Any] = own_arguments(spec, image_size=8)
    return build(**own, channels=1, classes=5, code=NO_CODE)


def test_the_settings_of_a_recipe_say_which_network_is_built() -> None:
    net = built(SPEC)
    assert net.get_parameter("stem.0.weight").shape == (8, 1, 3, 3)
    assert net.get_parameter("head.weight").shape == (5, 32)
    assert not any("shortcut" in name for name, _ in net.named_parameters())  # A has none


def test_the_kind_of_norm_layers_is_one_of_the_settings() -> None:
    assert "norm" not in own_arguments(SPEC, image_size=8)  # as in the files of older versions
    grouped = PLAIN.model_copy(update={"norm": "group"})
    assert any(isinstance(module, nn.GroupNorm) for module in built(grouped).modules())


def test_the_depth_is_in_the_name() -> None:
    assert {name: 6 * blocks + 2 for name, blocks in CIFAR_BLOCKS.items()} == {
        name: int(name.removeprefix("resnet")) for name in CIFAR_BLOCKS
    }


def test_there_are_no_weights_to_start_from() -> None:
    trained_before_is_none: object = trained_before(SPEC, channels=1, image_size=8, report=pytest.fail)  # type: ignore[func-returns-value]
    assert trained_before_is_none is None
    assert in_words(own_arguments(SPEC, image_size=8)) == "a resnet20"
