"""Trained models at work, from Python."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

import onecycle_cli
from onecycle_cli.engine import Hardware
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.training import train
from onecycle_cli.inference import load_model, predict
from onecycle_cli.progress import silent
from onecycle_cli.recipe import load, shipped_path, to_yaml, with_values
from onecycle_cli.run_dir.run import RunDir

CPU = Hardware(torch.device("cpu"), "float32")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run that has learned the digits."""
    values = {"schedule.epochs": 8, "schedule.max_lr": 0.1, "runtime.precision": "float32"}
    recipe = with_values(load(shipped_path("digits")), values)
    folder = tmp_path_factory.mktemp("runs")
    made = RunDir.create(
        folder, command="train", recipe_name="digits", recipe_yaml=to_yaml(recipe), facts={}, name="trained"
    )
    train(recipe, CPU, made, silent)
    return made


@pytest.fixture
def written_digits(tmp_path: Path) -> list[Path]:
    """Fifty digits as PNG files, named by their number and class."""
    images, labels = load_digits(return_X_y=True)
    paths = []
    for number in range(50):
        pixels = np.rint(images[number].reshape(8, 8) * (255 / 16)).astype(np.uint8)
        paths.append(tmp_path / f"{number}-{labels[number]}.png")
        Image.fromarray(pixels).save(paths[-1])
    return paths


def test_a_model_says_what_it_was_trained_on(run: RunDir) -> None:
    model = onecycle_cli.load_model(run.path)
    assert model.classes == tuple("0123456789")
    assert (model.image_size, model.channels) == (8, 1)
    assert list(model.mean) == run.facts["mean"]
    assert not model.training


def test_it_gives_the_accuracy_that_training_saw(run: RunDir) -> None:
    from onecycle_cli.experiments.setup import open_recipe_data

    valid = open_recipe_data(load(run.path / "recipe.yaml"), silent).valid
    likely = load_model(run.path).probabilities(torch.from_numpy(valid.images))
    assert likely.shape == (360, 10)
    assert likely.sum(1) == pytest.approx(torch.ones(360))
    assert (likely.argmax(1).numpy() == valid.labels).mean() == pytest.approx(run.summary["valid_accuracy"])


def test_image_files_are_classified(run: RunDir, written_digits: list[Path]) -> None:
    answers = predict(load_model(run.path), written_digits, CPU)
    right = [label == path.stem[-1] for path, (label, _) in zip(written_digits, answers, strict=True)]
    assert sum(right) >= 47
    assert all(0.1 < probability <= 1 for _, probability in answers)
    assert predict(load_model(run.path), [], CPU) == []


def test_a_weights_file_may_be_named_itself(run: RunDir) -> None:
    assert load_model(run.path / "model.safetensors").classes == tuple("0123456789")


def test_what_is_not_there_is_told(run: RunDir, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no weights at .*best\.safetensors"):
        load_model(run.path, best=True)
    with pytest.raises(InputError, match="There are no weights"):
        load_model(tmp_path)
    with pytest.raises(InputError, match="There is no image"):
        predict(load_model(run.path), [tmp_path / "nowhere.png"], CPU)
    (tmp_path / "text.png").write_text("x")
    with pytest.raises(InputError, match="cannot be read as an image"):
        predict(load_model(run.path), [tmp_path / "text.png"], CPU)


def test_the_package_offers_what_it_says() -> None:
    assert all(hasattr(onecycle_cli, name) for name in onecycle_cli.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = onecycle_cli.nothing


def test_an_image_of_any_size_and_colour_is_read_as_the_model_wants_it(run: RunDir, image_folder: Callable) -> None:
    model = load_model(run.path)
    path = image_folder("a", size=(30, 20)) / "a" / "0.png"
    assert model.read(path).shape == (8, 8, 1)
    assert model(model.read(path)[None]).shape == (1, 10)


@pytest.mark.gpu
def test_on_a_gpu_pixels_of_the_cpu_may_come_in(run: RunDir, written_digits: list[Path]) -> None:
    cuda = Hardware(torch.device("cuda"), "float32")
    answers = predict(load_model(run.path), written_digits, cuda)
    assert [label for label, _ in answers] == [label for label, _ in predict(load_model(run.path), written_digits, CPU)]
