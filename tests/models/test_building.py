"""From settings to a network: the seed gives its weights, and its arguments build it again."""

import json
from typing import Any

import pytest
import torch
from torch import nn

from onecycle_cli.errors import InputError
from onecycle_cli.models import (
    build_model,
    network_arguments,
    network_from,
    network_in_words,
    on_device,
    pretrained_weights,
)
from onecycle_cli.models.sources.onecycle import CIFAR_BLOCKS
from onecycle_cli.recipe.model_fields import ModelSettings, OnecycleModelSettings, TorchvisionModelSettings

ARCHITECTURES = [*CIFAR_BLOCKS, "resnet18", "resnet9", "cnn"]


def model(architecture: str, *, seed: int = 0, **settings: Any) -> nn.Module:
    plain: dict[str, Any] = {"width": 1, "shortcut_kind": "B", "dropout": 0.0, "channels": 3, "classes": 10}
    return network_from({"architecture": architecture} | plain | settings, seed=seed)


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


OURS = OnecycleModelSettings(architecture="resnet8", width=0.25, shortcut="A", dropout=0.5)
THEIRS = TorchvisionModelSettings(source="torchvision", architecture="resnet18", dropout=0.0)


def test_the_arguments_of_saved_weights_are_those_that_all_versions_kept() -> None:
    # In this order, so that the files of the same weights are the same.
    arguments = network_arguments(OURS, channels=1, classes=3, image_size=8)
    ours = {"source": "onecycle", "architecture": "resnet8", "width": 0.25, "shortcut_kind": "A", "dropout": 0.5}
    assert json.dumps(arguments) == json.dumps(ours | {"channels": 1, "classes": 3})
    arguments = network_arguments(THEIRS, channels=3, classes=3, image_size=32)
    theirs = {"source": "torchvision", "architecture": "resnet18", "dropout": 0.0, "image_size": 32}
    assert json.dumps(arguments) == json.dumps(theirs | {"channels": 3, "classes": 3})


@pytest.mark.parametrize("settings", [OURS, THEIRS])
def test_a_network_is_built_again_from_its_arguments(settings: ModelSettings) -> None:
    net = build_model(settings, channels=3, classes=2, image_size=32, seed=4)
    again = network_from(network_arguments(settings, channels=3, classes=2, image_size=32), seed=4)
    weights = again.state_dict()
    assert net.state_dict().keys() == weights.keys()
    assert all(torch.equal(weight, weights[name]) for name, weight in net.state_dict().items())


def test_only_what_asks_for_weights_of_its_source_has_some() -> None:
    assert pretrained_weights(OURS, channels=3, image_size=8, report=pytest.fail) is None
    assert pretrained_weights(THEIRS, channels=3, image_size=8, report=pytest.fail) is None


def test_a_network_of_a_source_of_a_later_version_is_refused() -> None:
    with pytest.raises(InputError, match="There are no networks of source elsewhere"):
        network_from({"source": "elsewhere", "architecture": "resnet8"}, seed=0)


def test_a_network_is_named_in_words_also_from_a_file_of_an_older_version() -> None:
    named = [network_in_words(network_arguments(one, channels=3, classes=2, image_size=32)) for one in (OURS, THEIRS)]
    assert named == ["a resnet8", "torchvision's resnet18"]
    assert network_in_words({"architecture": "resnet20", "width": 1.0, "channels": 3, "classes": 10}) == "a resnet20"


def test_own_networks_keep_row_major_weights_and_the_others_are_channels_last() -> None:
    net = build_model(OURS, channels=3, classes=2, image_size=8, seed=0)
    kept = on_device(net, "module", torch.device("cpu")).get_parameter("stages.0.0.conv1.weight")
    assert kept.is_contiguous()
    changed = on_device(net, "onecycle", torch.device("cpu")).get_parameter("stages.0.0.conv1.weight")
    assert changed.is_contiguous(memory_format=torch.channels_last)
    assert not changed.is_contiguous()
