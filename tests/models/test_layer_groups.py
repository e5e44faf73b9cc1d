"""Layer groups: each parameter in one of them, from the input to the output, whatever the network."""

from typing import Any

import pytest
import torch
from torch import nn

from onecycle_cli.models import layer_groups, network_from


def ours(architecture: str) -> nn.Module:
    settings: dict[str, Any] = {"width": 0.125, "shortcut_kind": "B", "dropout": 0.0, "channels": 3, "classes": 10}
    return network_from({"architecture": architecture} | settings, seed=0)


@pytest.mark.parametrize(
    ("architecture", "layers"), [("resnet8", 3), ("resnet110", 3), ("resnet18", 4), ("resnet9", 3), ("cnn", 2)]
)
def test_our_own_networks_have_a_stem_their_stages_and_a_head(architecture: str, layers: int) -> None:
    net = ours(architecture)
    groups = layer_groups(net, 10)
    assert list(groups) == ["stem", *(f"layer{n}" for n in range(1, layers + 1)), "head"]
    assert [name for names in groups.values() for name in names] == [name for name, _ in net.named_parameters()]
    assert all(name.startswith("head.") for name in groups["head"])
    if architecture.startswith("resnet") and architecture != "resnet9":
        assert all(name.startswith("stem.") for name in groups["stem"])
        assert all(name.startswith("stages.0.") for name in groups["layer1"])


@pytest.mark.parametrize(
    ("architecture", "layers", "in_stem", "head"),
    [
        ("resnet10t", 4, "bn1.weight", ["fc.weight", "fc.bias"]),
        ("vit_tiny_patch16_224", 12, "pos_embed", ["head.weight", "head.bias"]),
        ("convnext_atto", 4, "stem.0.weight", ["head.fc.weight", "head.fc.bias"]),
        ("mobilenetv3_small_050", 6, "conv_stem.weight", ["classifier.weight", "classifier.bias"]),
        (
            "deit_tiny_distilled_patch16_224",
            12,
            "dist_token",
            ["head.weight", "head.bias", "head_dist.weight", "head_dist.bias"],
        ),
    ],
)
def test_timms_networks_say_their_groups_themselves(
    architecture: str, layers: int, in_stem: str, head: list[str]
) -> None:
    import timm

    with torch.device("meta"):
        net = timm.create_model(architecture, num_classes=10)
    groups = layer_groups(net, 10)
    assert list(groups) == ["stem", *(f"layer{n}" for n in range(1, layers + 1)), "head"]
    assert in_stem in groups["stem"]
    assert groups["head"] == head
    names = [name for names in groups.values() for name in names]
    assert sorted(names) == sorted(name for name, _ in net.named_parameters())


class Wrapped(nn.Module):
    """A network of a stranger: the head comes first in the code, a token stands alone, norms come at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 4))
        self.classifier = nn.Linear(4, 7)
        self.body = nn.Sequential(*(nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)) for _ in range(3)))
        self.norm = nn.LayerNorm(4)


def test_the_head_is_the_last_layer_with_a_row_for_each_class_wherever_it_is() -> None:
    groups = layer_groups(Wrapped(), 7)
    assert groups["head"] == ["classifier.weight", "classifier.bias"]
    assert list(groups) == ["stem", "layer1", "layer2", "head"]
    assert groups["stem"] == ["token", "body.0.0.weight", "body.0.0.bias", "body.0.1.weight", "body.0.1.bias"]
    assert groups["layer2"][-2:] == ["norm.weight", "norm.bias"]


@pytest.mark.parametrize(
    ("net", "names"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(9, 3)), ["head"]),
        (nn.Sequential(nn.Linear(9, 8), nn.ReLU(), nn.Linear(8, 3)), ["stem", "head"]),
        (nn.Sequential(nn.BatchNorm1d(9), nn.Linear(9, 8), nn.Linear(8, 3)), ["stem", "head"]),
        (nn.Linear(9, 3), ["head"]),
        (nn.Sequential(nn.Linear(9, 8), nn.Linear(8, 4)), ["stem", "head"]),  # no layer has three rows
        (nn.Sequential(nn.Linear(9, 3), nn.LayerNorm(3)), ["stem", "head"]),
    ],
)
def test_small_networks_have_few_groups(net: nn.Module, names: list[str]) -> None:
    groups = layer_groups(net, 3)
    assert list(groups) == names
    assert sum(map(len, groups.values())) == len(list(net.parameters()))


def test_weights_that_are_used_twice_are_in_one_group() -> None:
    shared = nn.Linear(4, 4)
    groups = layer_groups(nn.Sequential(shared, nn.Linear(4, 4), shared, nn.Linear(4, 2)), 2)
    assert [name for names in groups.values() for name in names] == [
        *("0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias"),
    ]
