"""torchvision's networks by name, and their weights from a cache or from nowhere."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import nn

from onecycle_cli.errors import InputError, MachineError
from onecycle_cli.models import build_model, layer_groups, network_from, pretrained_weights
from onecycle_cli.models.sources.torchvision import TorchvisionSpec, in_words, pretrained, with_torchvision_names
from onecycle_cli.recipe.model_fields import TorchvisionModelSettings


def spec(architecture: str, **more: Any) -> TorchvisionModelSettings:
    return TorchvisionModelSettings.model_validate(
        {"source": "torchvision", "architecture": architecture, "dropout": 0.0} | more
    )


SPEC: TorchvisionSpec = spec("resnet18")  # mypy holds the recipe's section to what this source asks for


SMALL = {"resnet18": 32, "mobilenet_v3_small": 32, "squeezenet1_1": 32, "vit_b_16": 32, "googlenet": 32, "alexnet": 64}
"""Architectures of different families, with the size of small images for them."""


@pytest.mark.parametrize(("architecture", "size"), SMALL.items())
def test_it_is_torchvisions_own_network_with_its_names(architecture: str, size: int) -> None:
    with torch.device("meta"):
        net = build_model(spec(architecture), channels=3, classes=5, image_size=size, seed=0)
        assert net(torch.zeros(2, 3, size, size)).shape == (2, 5)
        theirs = (
            torchvision.models.get_model(architecture, init_weights=False)
            if architecture == "googlenet"
            else (torchvision.models.get_model(architecture))
        )
    names = {name for name, _ in theirs.named_parameters() if not name.startswith("aux")}
    assert {name for name, _ in net.named_parameters()} == names
    groups = layer_groups(net, 5)
    assert {name for group in groups.values() for name in group} == names
    assert (next(iter(groups)), list(groups)[-1]) == ("stem", "head")


def test_the_weights_are_those_that_torchvision_draws() -> None:
    net = build_model(spec("resnet18"), channels=3, classes=5, image_size=32, seed=3)
    torch.manual_seed(3)
    theirs = torchvision.models.resnet18(num_classes=5).state_dict()
    assert all(torch.equal(weight, theirs[name]) for name, weight in net.state_dict().items())


@pytest.mark.parametrize("name", ["resnet1", "RESNET18", "fasterrcnn_resnet50_fpn", ""])
def test_an_unknown_name_is_told_with_those_that_are_like_it(name: str) -> None:
    with pytest.raises(InputError, match=f"has no classifier called {name}") as caught:
        network_from({"source": "torchvision", "architecture": name, "dropout": 0, "channels": 3, "classes": 2}, seed=0)
    assert ("resnet18" in caught.value.what) == ("resnet1" in name.lower() and "r" in name)


def test_a_size_that_it_cannot_be_built_for_is_told() -> None:
    with pytest.raises(InputError, match="cannot build vit_b_16 for images of 33 pixels"):
        build_model(spec("vit_b_16"), channels=3, classes=2, image_size=33, seed=0)


@pytest.mark.parametrize("architecture", ["resnet18", "mobilenet_v3_small", "alexnet", "squeezenet1_1"])
def test_the_dropout_is_before_the_last_layer_and_in_place_of_torchvisions_own(architecture: str) -> None:
    nets = [
        build_model(spec(architecture, dropout=dropout), channels=3, classes=5, image_size=64, seed=0)
        for dropout in (0, 0.9)
    ]
    rates = [{module.p for module in net.modules() if isinstance(module, nn.Dropout)} for net in nets]
    assert rates[0] <= {0}
    assert rates[1] == {0.9}
    names, same = ([name for name, _ in net.named_parameters()] for net in nets)
    assert names == same


def test_files_of_versions_that_renamed_the_layers_still_load() -> None:
    net = build_model(spec("resnet18"), channels=3, classes=5, image_size=32, seed=0)
    older = {
        "conv1": "stem.0",
        "bn1": "stem.1",
        "fc": "head",
        "layer1": "stages.0",
        "layer4": "stages.3",
        "layer2": "stages.1",
        "layer3": "stages.2",
    }
    renamed = {
        f"{older[name.partition('.')[0]]}.{name.partition('.')[2]}": weight for name, weight in net.state_dict().items()
    }
    again = with_torchvision_names(renamed)
    assert {name: id(weight) for name, weight in again.items()} == {
        name: id(weight) for name, weight in zip(net.state_dict(), renamed.values(), strict=True)
    }
    prefixed = with_torchvision_names({f"model.{name}": weight for name, weight in renamed.items()}, "model.")
    assert list(prefixed) == [f"model.{name}" for name in net.state_dict()]
    assert with_torchvision_names(net.state_dict()).keys() == net.state_dict().keys()
    old = {"source": "torchvision", "architecture": "resnet18", "width": 1.0, "shortcut_kind": "B", "dropout": 0.0}
    network_from(old | {"channels": 3, "classes": 5}, seed=0).load_state_dict(again)
    assert in_words(old) == "torchvision's resnet18"


def test_the_seed_gives_the_weights_and_no_other_draw_is_touched() -> None:
    before = torch.get_rng_state()
    one, again, other = (
        build_model(spec("resnet18"), channels=3, classes=3, image_size=32, seed=seed) for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), before)
    weights, same, others = (net.get_parameter("fc.weight") for net in (one, again, other))
    assert torch.equal(weights, same)
    assert not torch.equal(weights, others)


def test_weights_in_the_cache_are_taken_without_a_word(imagenet: dict, capsys: pytest.CaptureFixture) -> None:
    found = pretrained("resnet18", 32, pytest.fail)
    assert capsys.readouterr().out == ""
    assert found.name == "torchvision's resnet18, trained on ImageNet"
    asked_for = pretrained_weights(spec("resnet18", pretrained=True), channels=3, image_size=32, report=pytest.fail)
    assert asked_for.weights.keys() == found.weights.keys()
    assert len(found.classes) == 1000
    assert found.classes[0] == "tench"
    assert (found.mean, found.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert len(found.weights) == len(imagenet)
    assert found.interpolation == "bilinear"
    net = build_model(spec("resnet18"), channels=3, classes=1000, image_size=32, seed=0)
    net.load_state_dict(found.weights)
    theirs = torchvision.models.resnet18()
    theirs.load_state_dict(imagenet)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(net.eval()(images), theirs.eval()(images))


def test_without_a_network_it_is_told_where_they_were_looked_for_and_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    for name in ("https_proxy", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody listens
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("urllib.request._opener", None)  # it keeps the proxies of the first download in this process
    told: list[str] = []
    with pytest.raises(MachineError) as caught:
        pretrained("resnet18", 32, told.append)
    address = "https://download.pytorch.org/models/resnet18-f37072fd.pth"
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    assert told == [f"Downloading the ImageNet weights of resnet18 from {address}."]
    assert caught.value.what.startswith(f"{folder / 'resnet18-f37072fd.pth'} with the ImageNet weights of")
    assert f"downloading {address} failed: " in caught.value.what
    assert "refused" in caught.value.what
    assert f"put it into {folder}" in caught.value.fix
    assert capsys.readouterr().out == ""


@pytest.mark.usefixtures("imagenet")
@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04"])
def test_a_file_that_holds_no_weights_is_told(content: bytes) -> None:
    file = Path(torch.hub.get_dir()) / "checkpoints" / "resnet18-f37072fd.pth"
    file.write_bytes(content)
    with pytest.raises(InputError, match="does not hold the ImageNet weights of resnet18"):
        pretrained("resnet18", 32, pytest.fail)


def test_a_file_with_the_weights_of_another_network_is_told(imagenet: dict) -> None:
    file = Path(torch.hub.get_dir()) / "checkpoints" / "resnet34-b627a593.pth"
    torch.save(imagenet, file)
    with pytest.raises(InputError, match="does not hold the ImageNet weights of resnet34: layer1.2.conv1.weight"):
        pretrained("resnet34", 32, pytest.fail)
