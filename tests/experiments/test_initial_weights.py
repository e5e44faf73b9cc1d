"""Starting from a trained network: its weights, its head, its normalization, and what does not fit."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.classifier import load_model
from onecycle_cli.experiments.initial_weights import InitialWeights
from onecycle_cli.experiments.prepared_recipe import fresh, prepare
from onecycle_cli.experiments.recipe_images import open_recipe_data
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train
from onecycle_cli.models.weights import load_weights, save_weights
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")
Tiny = Callable[..., Recipe]


@pytest.fixture
def tiny(tiny: Tiny) -> Tiny:
    """A ResNet: its shortcuts are layers that another network can lack."""
    return lambda values=None: tiny({"model.architecture": "resnet8"} | (values or {}))


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[[Recipe], RunDir]:
    def make(recipe: Recipe) -> RunDir:
        text = to_yaml(recipe)
        return RunDir.create(tmp_path, command="train", recipe_name="digits", recipe_yaml=text, facts={}, name=None)

    return make


@pytest.fixture(scope="module")
def kept() -> list[Path]:
    """The folder of `trained`, from the first test that asks on."""
    return []


@pytest.fixture
def trained(kept: list[Path], tiny: Tiny, new_run: Callable) -> Path:
    """The folder of a training on the digits, which the tests only read."""
    if not kept:
        recipe = tiny()
        run = new_run(recipe)
        train(recipe, Session(run, CPU, silent))
        kept.append(run.path)
    return kept[0]


@pytest.fixture
def begun(tiny: Tiny, new_run: Callable) -> Callable[..., tuple[dict, RunDir]]:
    """The weights that a recipe starts from, and the run that tells of it."""

    def begin(values: dict[str, Any]) -> tuple[dict, RunDir]:
        recipe = tiny(values)
        run = new_run(recipe)
        prepared = prepare(recipe, Session(run, CPU, silent))
        return fresh(recipe, prepared).model.state_dict(), run

    return begin


def photos(image_folder: Callable, *classes: str) -> dict[str, Any]:
    path = image_folder(*(f"train/{name}" for name in classes), images=16)
    return {"data.source": "image_folder", "data.path": str(path), "data.batch_size": 8}


@pytest.mark.parametrize("name", ["", "model.safetensors"])
def test_a_training_starts_with_the_weights_that_another_ended_with(trained: Path, begun: Callable, name: str) -> None:
    weights, run = begun({"model.init": str(trained / name)})
    expected, _ = load_weights(trained / "model.safetensors")
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], expected[name]) for name in weights)
    (note,) = run.facts["notes"]
    assert note.startswith(f"The network starts from {trained / name}, with its head for 0, 1, 2 and 7 more. ")


@pytest.mark.parametrize("classes", ["ab", "0123456789"[::-1]])
def test_a_head_for_other_classes_is_new_and_said_to_be(
    trained: Path, begun: Callable, image_folder: Callable, classes: str
) -> None:
    folder = photos(image_folder, *(f"class-{name}" for name in classes))
    weights, run = begun(folder | {"model.init": str(trained)})
    anew, _ = begun(folder)
    expected, _ = load_weights(trained / "model.safetensors")
    assert all(torch.equal(weights[name], (anew if "head" in name else expected)[name]) for name in weights)
    assert (
        "with a new head, because the old one is for 0, 1, 2 and 7 more, and the images are of class-"
        in run.facts["notes"][0]
    )
    other_seed, _ = begun(folder | {"model.init": str(trained), "seed": 5})
    assert not torch.equal(other_seed["head.weight"], weights["head.weight"])
    assert torch.equal(other_seed["stem.0.weight"], weights["stem.0.weight"])


def test_the_images_are_normalized_as_the_model_is_used_to_unless_the_recipe_says_otherwise(
    trained: Path, begun: Callable, image_folder: Callable
) -> None:
    _, header = load_weights(trained / "model.safetensors")
    values = photos(image_folder, "a", "b") | {"model.init": str(trained)}
    _, run = begun(values)
    assert (run.facts["mean"], run.facts["std"]) == (list(header.mean), list(header.std))
    assert f"as in its training: mean {header.mean[0]:.4f}; std {header.std[0]:.4f}." in run.facts["notes"][0]
    _, own = begun(values | {"data.mean": [0.25]})
    assert (own.facts["mean"], own.facts["std"]) == ([0.25], list(header.std))
    assert "as in its training: std" in own.facts["notes"][0]
    _, both = begun(values | {"data.mean": [0.25], "data.std": [0.5]})
    assert "used to" not in both.facts["notes"][0]


def test_a_model_of_another_architecture_is_refused(trained: Path, begun: Callable) -> None:
    with pytest.raises(InputError) as caught:
        begun({"model.init": str(trained), "model.architecture": "resnet9"})
    assert caught.value.what == f"The model in {trained} is a resnet8, but the recipe's is a resnet9."
    assert "--set model.source=onecycle --set model.architecture=resnet8" in caught.value.fix


def test_all_shapes_that_do_not_fit_are_told_at_once(trained: Path, begun: Callable) -> None:
    with pytest.raises(InputError) as caught:
        begun({"model.init": str(trained), "data.channels": 3, "model.shortcut": "A"})
    first, *lines = caught.value.what.splitlines()
    assert first == f"The model in {trained} has different shapes from the recipe's:"
    assert "  stem.0.weight: 4 x 1 x 3 x 3 there, 4 x 3 x 3 x 3 here" in lines
    assert "  stages.1.0.shortcut.1.weight: 8 x 4 x 1 x 1 there, none here" in lines
    # Of each of two shortcuts a convolution, and the five tensors of a norm.
    assert len(lines) == 1 + 2 * (1 + 5)
    with pytest.raises(InputError, match=r"head.weight: 10 x 16 there, 10 x 32 here"):
        begun({"model.init": str(trained), "model.width": 0.5})


TORCHVISION = {"model.source": "torchvision", "model.architecture": "resnet18", "model.width": 1.0, "data.channels": 3}


def test_what_imagenet_taught_is_started_from_with_its_normalization_and_a_new_head(
    imagenet: dict, begun: Callable, image_folder: Callable
) -> None:
    values = photos(image_folder, "a", "b") | TORCHVISION
    weights, run = begun(values | {"model.pretrained": True})
    assert torch.equal(weights["conv1.weight"], imagenet["conv1.weight"])
    assert torch.equal(weights["layer4.1.bn2.running_var"], imagenet["layer4.1.bn2.running_var"])
    assert weights["fc.weight"].shape == (2, 512)
    assert (run.facts["mean"], run.facts["std"]) == ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    told = run.facts["notes"][0]
    assert told.startswith("The network starts from torchvision's resnet18, trained on ImageNet, with a new head, ")
    assert "for tench, goldfish, great white shark and 997 more, and the images are of a, b. " in told
    anew, plain = begun(values)
    assert not torch.equal(anew["conv1.weight"], weights["conv1.weight"])
    assert torch.equal(anew["fc.weight"], weights["fc.weight"])
    assert plain.facts["mean"] != run.facts["mean"]


@pytest.mark.usefixtures("imagenet")
def test_a_trained_torchvision_network_is_started_from_loaded_and_told_from_ours(
    tiny: Tiny, new_run: Callable, begun: Callable, image_folder: Callable
) -> None:
    values = photos(image_folder, "a", "b") | TORCHVISION | {"schedule.epochs": 1, "schedule.pct_start": 0.4}
    recipe = tiny(values | {"model.pretrained": True})
    run = new_run(recipe)
    train(recipe, Session(run, CPU, silent))
    # Loading it again asks for no weights but its own.
    again = load_model(run.path)
    assert again.classes == ("a", "b")
    weights, _ = begun(values | {"model.init": str(run.path)})
    assert all(torch.equal(weights[name], value) for name, value in again.model.state_dict().items())
    with pytest.raises(InputError, match=r"is torchvision's resnet18, but the recipe's is a resnet18\."):
        begun(photos(image_folder, "a", "b") | {"model.init": str(run.path), "model.architecture": "resnet18"})


def test_a_model_saved_before_there_were_sources_is_one_of_ours(trained: Path, begun: Callable, tmp_path: Path) -> None:
    weights, header = load_weights(trained / "model.safetensors")
    older = {name: value for name, value in header.model.items() if name != "source"}
    save_weights(tmp_path / "older.safetensors", weights, dataclasses.replace(header, model=older))
    started, _ = begun({"model.init": str(tmp_path / "older.safetensors")})
    assert torch.equal(started["stem.0.weight"], weights["stem.0.weight"])
    assert load_model(tmp_path / "older.safetensors").classes == header.classes


def test_a_model_that_is_not_there_is_told(tmp_path: Path, begun: Callable) -> None:
    with pytest.raises(InputError, match="There are no weights at"):
        begun({"model.init": str(tmp_path / "nowhere")})


def test_it_is_told_how_the_images_are_resized_where_that_is_not_the_usual_way(tiny: Tiny) -> None:
    recipe = tiny()
    data = open_recipe_data(recipe, silent)
    for interpolation, says in (("bicubic", "They are resized as there: interpolation bicubic."), ("bilinear", "")):
        start = InitialWeights("some weights", {}, data.classes, (0.5,), (0.5,), interpolation)
        assert start.describe(recipe, data).endswith(says)
        assert ("resized" in start.describe(recipe, data)) == bool(says)
        as_it_says = tiny({"data.interpolation": "nearest"})
        assert "resized" not in start.describe(as_it_says, data)
    without = InitialWeights("some weights", {}, (), (0.5,), (0.5,), None)
    assert "with a new head, because they have none" in without.describe(recipe, data)
