"""torchvision's networks under our names, and their weights from a cache or from nowhere."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from onecycle_cli.errors import InputError, MachineError
from onecycle_cli.models import build_model, layer_groups, pretrained_weights
from onecycle_cli.models.torchvision import WEIGHTS, TorchvisionSpec, imagenet_resnet, pretrained
from onecycle_cli.recipe.model_fields import TorchvisionModelSettings


def spec(architecture: str, **more: Any) -> TorchvisionModelSettings:
    return TorchvisionModelSettings.model_validate(
        {"source": "torchvision", "architecture": architecture, "dropout": 0.0} | more
    )


SPEC: TorchvisionSpec = spec("resnet18")  # mypy holds the recipe's section to what this source asks for


@pytest.mark.parametrize("architecture", WEIGHTS)
def test_it_computes_what_torchvisions_own_does(architecture: str) -> None:
    torch.manual_seed(0)
    theirs = torchvision.models.get_model(architecture, num_classes=5).eval()
    torch.manual_seed(0)
    ours = imagenet_resnet(architecture, dropout=0, classes=5).eval()
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images), theirs(images))
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())


@pytest.mark.parametrize("architecture", WEIGHTS)
def test_each_parameter_is_in_one_layer_group_that_a_recipe_knows(architecture: str) -> None:
    settings = spec(architecture)
    net = build_model(settings, channels=3, classes=3, seed=0)
    grouped = [id(parameter) for group in layer_groups(net).values() for parameter in group.parameters()]
    assert grouped == [id(parameter) for parameter in net.parameters()]
    assert settings.groups == tuple(layer_groups(net))


def test_the_seed_gives_the_weights_and_no_other_draw_is_touched() -> None:
    before = torch.get_rng_state()
    one, again, other = (build_model(spec("resnet18"), channels=3, classes=3, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    weights, same, others = (net.get_parameter("head.weight") for net in (one, again, other))
    assert torch.equal(weights, same)
    assert not torch.equal(weights, others)


def test_weights_in_the_cache_are_taken_without_a_word(imagenet: dict, capsys: pytest.CaptureFixture) -> None:
    found = pretrained("resnet18", pytest.fail)
    assert capsys.readouterr().out == ""
    assert found.name == "torchvision's resnet18, trained on ImageNet"
    asked_for = pretrained_weights(spec("resnet18", pretrained=True), pytest.fail)
    assert asked_for.weights.keys() == found.weights.keys()
    assert len(found.classes) == 1000
    assert found.classes[0] == "tench"
    assert (found.mean, found.std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    assert len(found.weights) == len(imagenet)
    net = imagenet_resnet("resnet18", dropout=0, classes=1000)
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
        pretrained("resnet18", told.append)
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
        pretrained("resnet18", pytest.fail)


def test_a_file_with_the_weights_of_another_network_is_told(imagenet: dict) -> None:
    file = Path(torch.hub.get_dir()) / "checkpoints" / "resnet34-b627a593.pth"
    torch.save(imagenet, file)
    with pytest.raises(InputError, match="does not hold the ImageNet weights of resnet34: Error"):
        pretrained("resnet34", pytest.fail)
