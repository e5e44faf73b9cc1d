"""From settings to images: which split is what."""

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onecycle_cli.data.images import ImageData
from onecycle_cli.data.open_data import DataSpec, known_train_images, open_data
from onecycle_cli.errors import InputError
from onecycle_cli.progress import Report, silent
from onecycle_cli.recipe import load, shipped_path

Make = Callable[..., Path]


PLAIN: dict[str, Any] = {
    "source": "image_folder",
    "layout": "auto",
    "mirrors": (),
    "image_size": 8,
    "channels": 3,
    "resize": "shorter_side",
    "interpolation": "bilinear",
    "valid_fraction": 0.0,
    "mean": None,
    "std": None,
}


def opened(
    *, seed: int = 0, report: Report = silent, elsewhere: Mapping[str, Any] = MappingProxyType({}), **settings: Any
) -> ImageData:
    return open_data(SimpleNamespace(**(PLAIN | settings)), seed=seed, report=report, **elsewhere)


def test_without_a_validation_split_the_test_split_is_looked_at_and_not_scored_again(image_folder: Make) -> None:
    data = opened(path=str(image_folder("train/a", "train/b", "test/a", "test/b")))
    assert (len(data.train), len(data.valid), data.test) == (8, 8, None)


def test_a_validation_split_leaves_the_test_split_for_the_end(image_folder: Make) -> None:
    data = opened(path=str(image_folder("train/a", "train/b", "val/a", "val/b", "test/a")))
    assert (len(data.train), len(data.valid), len(data.test)) == (8, 8, 4)


def test_a_held_out_part_leaves_the_test_split_for_the_end(image_folder: Make) -> None:
    data = opened(path=str(image_folder("train/a", "train/b", "test/a", images=10)), valid_fraction=0.2)
    assert (len(data.train), len(data.valid), len(data.test)) == (16, 4, 10)


def test_a_validation_split_and_a_fraction_contradict_each_other(image_folder: Make) -> None:
    with pytest.raises(InputError, match="has a validation split of 8 images"):
        opened(path=str(image_folder("train/a", "train/b", "val/a", "val/b")), valid_fraction=0.2)


def test_one_folder_of_classes_needs_a_fraction(image_folder: Make) -> None:
    with pytest.raises(InputError, match="neither a validation nor a test split") as caught:
        opened(path=str(image_folder("a", "b")))
    assert "data.valid_fraction=0.2" in caught.value.fix


def test_statistics_are_those_of_the_images_trained_on_unless_given(image_folder: Make) -> None:
    path = str(image_folder("train/a", "train/b", "test/a", images=10))
    data = opened(path=path, valid_fraction=0.5)
    assert data.mean == pytest.approx(tuple(data.train.images.mean((0, 1, 2)) / 255))
    assert data.std == pytest.approx(tuple(data.train.images.std((0, 1, 2)) / 255))
    half_given = opened(path=path, mean=(0.1, 0.2, 0.3))
    assert half_given.mean == (0.1, 0.2, 0.3)
    assert half_given.std != (0.1, 0.2, 0.3)


def test_the_digits_come_in_any_size_and_colour() -> None:
    data = opened(source="digits", image_size=16, channels=3, valid_fraction=0.2)
    assert data.train.images.shape == (1437, 16, 16, 3)
    assert np.array_equal(data.train.images[..., 0], data.train.images[..., 1])


@pytest.mark.parametrize(
    ("source", "fraction", "images"),
    [("cifar10", 0.0, 50_000), ("cifar10", 0.1, 45_000), ("digits", 0.2, 1437), ("image_folder", 0.0, None)],
)
def test_how_many_images_are_trained_on_is_known_without_opening(
    source: str, fraction: float, images: int | None
) -> None:
    settings = SimpleNamespace(**(PLAIN | {"source": source, "valid_fraction": fraction}))
    assert known_train_images(settings) == images


def test_what_is_looked_at_has_a_name(image_folder: Make) -> None:
    plain = image_folder("train/a", "train/b", "test/a", "test/b", images=10)
    assert opened(path=str(plain)).valid_is == "test split"
    assert opened(path=str(plain), valid_fraction=0.2).valid_is == "held out for validation"
    with_valid = image_folder("train/a", "train/b", "valid/a", "valid/b", name="with_valid")
    assert opened(path=str(with_valid)).valid_is == "validation split"


@pytest.mark.parametrize("level", [0, 37, 255])
def test_a_channel_without_variation_is_scaled_by_1_and_named(image_folder: Make, level: int) -> None:
    path = image_folder("a", "b")
    for file in path.glob("*/*.png"):
        pixels = np.asarray(Image.open(file)).copy()
        pixels[..., 2] = level
        Image.fromarray(pixels).save(file)
    news: list[object] = []
    data = opened(path=str(path), valid_fraction=0.5, report=news.append)
    assert data.std[2] == 1
    assert data.mean[2] == pytest.approx(level / 255)
    assert f"All training pixels are {level} of 255 in blue: the std 0 is replaced by 1." in news
    given = opened(path=str(path), valid_fraction=0.5, std=(0.1, 0.2, 0.3))
    assert given.std == (0.1, 0.2, 0.3)


def test_grey_images_of_one_level_are_scaled_by_1(image_folder: Make) -> None:
    path = image_folder("a", "b")
    for file in path.glob("*/*.png"):
        Image.new("L", (8, 8), 99).save(file)
    news: list[object] = []
    assert opened(path=str(path), valid_fraction=0.5, channels=1, report=news.append).std == (1,)
    assert "All training pixels are 99 of 255 in grey: the std 0 is replaced by 1." in news


def test_a_mean_and_std_from_elsewhere_stand_in_where_the_settings_have_none() -> None:
    elsewhere = {"mean": (0.1,), "std": (0.2,)}
    digits: dict[str, Any] = {"source": "digits", "channels": 1, "valid_fraction": 0.2, "elsewhere": elsewhere}
    assert (opened(**digits).mean, opened(**digits).std) == ((0.1,), (0.2,))
    own = opened(**digits, mean=(0.5,))
    assert (own.mean, own.std) == ((0.5,), (0.2,))


def test_the_data_section_of_a_recipe_is_what_images_are_opened_by() -> None:
    recipe = load(shipped_path("digits"))
    settings: DataSpec = recipe.data  # mypy holds the section to it
    data = open_data(settings, seed=recipe.seed, report=silent)
    assert (len(data.train), len(data.valid)) == (1437, 360)
