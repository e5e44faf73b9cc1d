"""Statistics and sizes of images."""

import numpy as np
import pytest
from PIL import Image

from onecycle_cli.data.images import Split, channel_statistics, contents_of, resized


def some(images: int, size: int, channels: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (images, size, size, channels), dtype=np.uint8)


@pytest.mark.parametrize("channels", [1, 3])
def test_statistics_are_numpys_on_a_scale_from_0_to_1(channels: int) -> None:
    images = some(1500, 5, channels)
    mean, std = channel_statistics(images)
    assert mean == pytest.approx(tuple(images.mean((0, 1, 2)) / 255))
    assert std == pytest.approx(tuple(images.std((0, 1, 2)) / 255))


def test_images_of_the_right_size_and_channels_are_left_as_they_are() -> None:
    images = some(3, 8, 3)
    assert resized(images, 8, 3) is images


def test_grey_becomes_three_equal_channels() -> None:
    images = some(3, 8, 1)
    assert np.array_equal(resized(images, 8, 3), np.repeat(images, 3, axis=-1))


def test_colour_becomes_grey_as_pillow_weighs_it() -> None:
    images = some(3, 8, 3)
    expected = np.stack([np.asarray(Image.fromarray(image).convert("L")) for image in images])[..., None]
    assert np.abs(resized(images, 8, 1).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("size", [5, 16])
def test_a_resize_is_pillows_bilinear_with_antialiasing(size: int) -> None:
    images = some(3, 10, 3)
    bilinear = Image.Resampling.BILINEAR
    expected = np.stack([np.asarray(Image.fromarray(image).resize((size, size), bilinear)) for image in images])
    assert np.abs(resized(images, size, 3).astype(int) - expected).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", ["bicubic", "nearest", "lanczos"])
def test_other_interpolations_are_pillows_to_the_bit(name: str, channels: int) -> None:
    images = some(3, 10, channels)
    plain = images[..., 0] if channels == 1 else images
    kind = Image.Resampling[name.upper()]
    expected = [np.asarray(Image.fromarray(image).resize((16, 16), kind)) for image in plain]
    assert np.array_equal(
        resized(images, 16, channels, name).reshape(3, 16, 16, -1), np.reshape(expected, (3, 16, 16, -1))
    )


@pytest.mark.parametrize("level", [0, 37, 200, 255])
def test_one_level_everywhere_has_a_standard_deviation_of_exactly_0(level: int) -> None:
    mean, std = channel_statistics(np.full((7, 5, 5, 3), level, dtype=np.uint8))
    assert std == (0, 0, 0)
    assert mean == pytest.approx((level / 255,) * 3)


def test_equal_images_have_equal_hashes_and_others_do_not() -> None:
    images = some(4, 8, 3)
    images[3] = images[1]
    hashes = contents_of(images)
    assert hashes[1] == hashes[3]
    assert len(set(hashes.tolist())) == 3
    split = Split(images, np.arange(4))
    assert np.array_equal(split.contents, hashes)
    assert np.array_equal(Split(images, np.arange(4), hashes).at(np.array([2, 0])).contents, hashes[[2, 0]])
