"""From settings to a network: the seed gives its weights, and its layer groups hold them all."""

from typing import Any

import pytest
import torch
from torch import nn

from onecycle_cli import recipe
from onecycle_cli.models import CIFAR_BLOCKS, build_model, layer_groups

ARCHITECTURES = [*CIFAR_BLOCKS, "resnet18", "resnet9"]


def model(architecture: str, **settings: Any) -> nn.Module:
    plain: dict[str, Any] = {"width": 1, "shortcut_kind": "B", "dropout": 0.0, "channels": 3, "classes": 10, "seed": 0}
    return build_model(architecture, **(plain | settings))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_seed_gives_the_weights_and_no_other_draw_is_touched(architecture: str) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = model(architecture, width=0.125)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(6)
    again, other = model(architecture, width=0.125), model(architecture, width=0.125, seed=1)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), again.parameters(), strict=True))
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_each_parameter_is_in_one_layer_group_in_the_order_of_the_model(architecture: str) -> None:
    net = model(architecture, width=0.125)
    groups = layer_groups(net)
    grouped = [id(parameter) for group in groups.values() for parameter in group.parameters()]
    assert grouped == [id(parameter) for parameter in net.parameters()]
    layers = 4 if architecture == "resnet18" else 3
    assert list(groups) == ["stem", *(f"layer{n}" for n in range(1, layers + 1)), "head"]
    assert all(list(group.parameters()) for group in groups.values())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_recipe_knows_the_layer_groups_of_its_network(architecture: str) -> None:
    settings = recipe.Model.model_validate({"architecture": architecture, "width": 1.0, "dropout": 0.0})
    assert settings.groups == tuple(layer_groups(model(architecture, width=0.125)))
