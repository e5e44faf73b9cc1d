"""timm's networks by name, and their weights from the hub's cache, from a file, or from nowhere."""

import sys
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from onecycle_cli.errors import InputError, MachineError
from onecycle_cli.models import build_model, network_from, pretrained_weights
from onecycle_cli.models.sources.timm import TimmSpec, in_words
from onecycle_cli.recipe.model_fields import TimmModelSettings


def spec(architecture: str = "test_resnet", **more: Any) -> TimmModelSettings:
    return TimmModelSettings.model_validate({"source": "timm", "architecture": architecture} | more)


SPEC: TimmSpec = spec()  # mypy holds the recipe's section to what this source asks for


def model(settings: TimmModelSettings, *, channels: int = 3, classes: int = 5, image_size: int = 32) -> nn.Module:
    return build_model(settings, channels=channels, classes=classes, image_size=image_size, seed=0)


@pytest.mark.parametrize(("architecture", "size"), [("test_resnet", 32), ("test_vit", 32), ("test_convnext", 64)])
@pytest.mark.parametrize("channels", [1, 3])
def test_it_is_timms_own_network_for_these_channels_classes_and_size(
    architecture: str, size: int, channels: int
) -> None:
    import timm

    net = model(spec(architecture), channels=channels, image_size=size)
    assert net(torch.randn(2, channels, size, size)).shape == (2, 5)
    theirs = timm.create_model(architecture, num_classes=5, in_chans=channels)
    assert [name for name, _ in net.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    assert in_words({"architecture": architecture}) == f"timm's {architecture}"


def test_dropout_and_drop_path_are_timms_own_settings() -> None:
    net = model(spec("test_vit", dropout=0.3, drop_path=0.2))
    assert 0.3 in {module.p for module in net.modules() if isinstance(module, nn.Dropout)}
    assert any(type(module).__name__ == "DropPath" for module in net.modules())
    with pytest.raises(InputError, match="cannot build vgg11 with .*drop_path_rate=0.5"):
        model(spec("vgg11", drop_path=0.5))


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("resnet10x", "resnet10t"),
        ("vit_tiny", "mean vit_tiny_patch16_224"),
        ("vit_tinny_patch16_224", "vit_tiny"),
        ("", ""),
    ],
)
def test_an_unknown_name_is_told_with_those_that_are_like_it(name: str, meant: str) -> None:
    with pytest.raises(InputError, match=f"has no classifier called {name}") as caught:
        network_from(
            {"source": "timm", "architecture": name, "dropout": 0.0, "drop_path": 0.0, "image_size": 32}
            | {"channels": 3, "classes": 2},
            seed=0,
        )
    assert meant in caught.value.what


def test_without_timm_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(MachineError, match="model.source timm needs timm, which cannot be imported") as caught:
        model(spec())
    assert "pip install 'onecycle-cli[timm]'" in caught.value.fix


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Weights of a tiny ResNet, drawn at random, where the hub keeps those that it has downloaded, and no network."""
    import timm
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody listens
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    found = timm.get_pretrained_cfg("test_resnet")
    folder = cache / f"models--{found.hf_hub_id.replace('/', '--')}"
    (folder / "snapshots" / "abc").mkdir(parents=True)
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text("abc")
    torch.manual_seed(7)
    weights = timm.create_model("test_resnet", num_classes=found.num_classes).state_dict()
    safetensors.torch.save_file(weights, folder / "snapshots" / "abc" / "model.safetensors")
    return folder / "snapshots" / "abc" / "model.safetensors"


def trained(settings: TimmModelSettings, channels: int = 3) -> Any:
    told: list[str] = []
    return pretrained_weights(settings, channels=channels, image_size=32, report=told.append)


def test_weights_in_the_hubs_cache_are_used_with_their_mean_std_and_interpolation(
    hub: Path, capfd: pytest.CaptureFixture
) -> None:
    import timm

    found = trained(spec(pretrained=True))
    theirs = safetensors.torch.load_file(hub)
    assert found.weights.keys() == theirs.keys()
    assert all(torch.equal(weight, theirs[name]) for name, weight in found.weights.items())
    cfg = timm.get_pretrained_cfg("test_resnet")
    assert (found.mean, found.std, found.interpolation) == (cfg.mean, cfg.std, cfg.interpolation)
    assert len(found.classes) == cfg.num_classes
    assert found.name.startswith("timm's test_resnet")
    assert capfd.readouterr() == ("", "")


def test_for_grey_images_timm_sums_the_first_layer_and_the_mean_is_that_of_the_channels(hub: Path) -> None:
    import timm

    found = trained(spec(pretrained=True), channels=1)
    theirs = safetensors.torch.load_file(hub)
    torch.testing.assert_close(found.weights["conv1.0.weight"], theirs["conv1.0.weight"].sum(1, keepdim=True))
    cfg = timm.get_pretrained_cfg("test_resnet")
    assert found.mean == pytest.approx((sum(cfg.mean) / 3,))
    assert len(found.std) == 1


def test_weights_in_a_file_are_used_and_a_wrong_file_is_told(hub: Path, tmp_path: Path) -> None:
    found = trained(spec(weights=str(hub)))
    assert torch.equal(found.weights["fc.weight"], safetensors.torch.load_file(hub)["fc.weight"])
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")
    safetensors.torch.save_file({"w": torch.ones(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="timm cannot build test_resnet with"):
        trained(spec(weights=str(tmp_path / "other.safetensors")))
    for name in ("broken.safetensors", "nowhere.safetensors"):
        with pytest.raises(InputError, match=f"{name} cannot be read as weights"):
            trained(spec(weights=str(tmp_path / name)))


def test_a_file_of_weights_runs_no_code(tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "it-ran",)

    torch.save({"fc.weight": Code()}, tmp_path / "code.pth")
    with pytest.raises(InputError, match=r"code.pth cannot be read as weights"):
        trained(spec(weights=str(tmp_path / "code.pth")))
    assert not (tmp_path / "it-ran").exists()


def test_weights_in_a_file_may_be_for_any_number_of_classes(tmp_path: Path) -> None:
    weights = model(spec(), classes=7).state_dict()
    safetensors.torch.save_file(weights, tmp_path / "seven.safetensors")
    found = trained(spec(weights=str(tmp_path / "seven.safetensors")))
    assert found.classes == tuple(f"class {number}" for number in range(7))
    assert torch.equal(found.weights["fc.weight"], weights["fc.weight"])


def test_without_a_network_it_is_told_that_the_weights_are_missing(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda _: None)  # it tries again for 48 s
    hub.unlink()
    (hub.parents[2] / "refs" / "main").unlink()
    with pytest.raises(MachineError, match="weights of timm's test_resnet are not in the cache and cannot be down"):
        trained(spec(pretrained=True))


def test_a_network_without_trained_weights_is_told() -> None:
    import timm

    names = (name for name in timm.list_models() if not timm.get_pretrained_cfg(name).has_weights)
    with pytest.raises(InputError, match="timm has no trained weights of"):
        trained(spec(next(names), pretrained=True))
    assert trained(spec()) is None
