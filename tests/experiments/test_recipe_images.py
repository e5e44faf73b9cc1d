"""The images of a recipe: how they are resized, and how many they are."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from onecycle_cli.data.images import ImageData, Split
from onecycle_cli.experiments.initial_weights import InitialWeights
from onecycle_cli.experiments.recipe_images import (
    class_counts,
    image_counts,
    interpolation_of,
    open_as_a_run_does,
    open_recipe_data,
)
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe

Tiny = Callable[..., Recipe]


def start(interpolation: str | None) -> InitialWeights:
    """Weights of a training whose images were resized so."""
    return InitialWeights("some weights", {}, ("a", "b"), (0.5,), (0.5,), interpolation)


@pytest.mark.parametrize(
    ("says", "weights", "expected"),
    [
        (None, "no weights", "bilinear"),
        (None, "bicubic", "bicubic"),
        ("nearest", "bicubic", "nearest"),
        (None, None, "bilinear"),
    ],
)
def test_images_are_resized_as_the_recipe_says_else_as_for_the_weights(
    tiny: Tiny, says: str | None, weights: str | None, expected: str
) -> None:
    recipe = tiny({"data.interpolation": says})
    assert interpolation_of(recipe, None if weights == "no weights" else start(weights)) == expected


def test_the_images_of_a_trained_model_are_opened_with_its_interpolation(tiny: Tiny) -> None:
    values = {"data.image_size": 16}
    bicubic = open_recipe_data(tiny(values | {"data.interpolation": "bicubic"}), silent).train.images
    bilinear = open_recipe_data(tiny(values), silent).train.images
    assert (bicubic != bilinear).any()
    assert (open_recipe_data(tiny(values), silent, start("bicubic")).train.images == bicubic).all()
    assert (open_recipe_data(tiny(values), silent, interpolation="bicubic").train.images == bicubic).all()


def test_without_the_weights_the_images_are_opened_all_the_same_and_it_is_told(tiny: Tiny) -> None:
    told: list[object] = []
    data = open_as_a_run_does(tiny({"model.init": "/nowhere.safetensors"}), told.append)
    assert len(data.classes) == 10
    assert any("without the weights that the recipe starts from: There are no weights at" in str(one) for one in told)


def test_images_are_counted_by_split_and_by_class() -> None:
    split = Split(np.zeros((3, 2, 2, 1), np.uint8), np.array([2, 0, 2]))
    assert class_counts(split, 4) == [1, 0, 2, 0]
    data = ImageData(split, split, "validation split", None, ("a", "b", "c", "d"), (0.5,), (0.5,), "", None)
    assert image_counts(data) == {"train": 3, "valid": 3, "test": None}


def test_the_names_of_files_are_listed_only_on_request(tiny: Tiny, image_folder: Callable[..., Path]) -> None:
    path = image_folder("a", "b", images=9)
    recipe = tiny({"data.source": "image_folder", "data.path": str(path)})
    assert open_recipe_data(recipe, silent).valid.files is None
    files = open_recipe_data(recipe, silent, with_files=True).valid.files
    assert files is not None
    assert all((path / file).is_file() for file in files)
