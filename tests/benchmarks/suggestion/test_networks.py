from collections.abc import Callable
from types import ModuleType

import pytest
import torch
from torch import nn

Module = Callable[[str], ModuleType]


@pytest.mark.parametrize(("name", "others"), [("mlp", {}), ("mlp", {"layers": 3}), ("vit", {"patch": 2, "width": 32})])
def test_a_network_gives_logits_and_each_of_its_parameters_a_gradient(module: Module, name: str, others: dict) -> None:
    network = getattr(module("networks"), name)(1, 7, image_size=8, **others)
    logits = network(torch.rand(3, 1, 8, 8))
    assert logits.shape == (3, 7)
    logits.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_an_mlp_has_no_norm_and_its_layers_are_counted_by_hand(module: Module) -> None:
    network = module("networks").mlp(3, 10, image_size=2, hidden=5, layers=1)
    assert [layer.weight.shape for layer in network if isinstance(layer, nn.Linear)] == [(5, 12), (10, 5)]


def test_attention_is_that_of_torch(module: Module) -> None:
    attention = module("networks").Attention(8, heads=2)
    tokens = torch.rand(3, 5, 8)
    query, key, value = (part.unflatten(2, (2, 4)).transpose(1, 2) for part in attention.inputs(tokens).chunk(3, dim=2))
    mixed = nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention(tokens), attention.outputs(mixed))
