"""What is said of images before anything is trained."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onecycle_cli.errors import MachineError
from onecycle_cli.experiments.data_check import CheckedClass, check_files, measure_images
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe

Tiny = Callable[..., Recipe]


@pytest.fixture
def of_folder(tiny: Tiny) -> Callable[[Path], Recipe]:
    values = {"data.source": "image_folder", "data.channels": 3, "data.valid_fraction": 0.5}
    return lambda path: tiny(values | {"data.path": str(path)})


def test_each_class_of_each_split_and_all_that_is_not_used_has_a_row(
    of_folder: Callable[[Path], Recipe], image_folder: Callable[..., Path]
) -> None:
    path = image_folder("train/a", "train/b", "test/a", "validations/a")
    (path / "train" / "a" / "x.txt").touch()
    rows = check_files(of_folder(path))
    assert rows == [
        CheckedClass("train", "a", 4, f"{path / 'train' / 'a'}: 1 file, not of an image format (endings: .txt)"),
        CheckedClass("train", "b", 4, ""),
        CheckedClass("test", "a", 4, ""),
        CheckedClass("test", "b", 0, ""),
        CheckedClass("", "", None, f"{path / 'validations'}: is not a split, and is not used"),
    ]


def test_images_without_contrast_are_remarked(
    of_folder: Callable[[Path], Recipe], image_folder: Callable[..., Path]
) -> None:
    path = image_folder("a", "b")
    assert measure_images(of_folder(path), silent).remarks == []
    for number, file in enumerate(path.glob("*/*.png")):
        Image.new("RGB", (8, 8), (100, 100, 100 + number % 2)).save(file)
    found = measure_images(of_folder(path), silent)
    assert found.std[0] == 0
    assert found.remarks[0] == "All training pixels are 100 of 255 in red and green: the std 0 is replaced by 1."
    assert found.remarks[1].startswith("The training images are nearly constant")
    assert found.remarks[2] == "4 of 4 training images are of a single colour."


def test_what_is_not_used_stands_in_the_rows_and_not_in_the_remarks(
    of_folder: Callable[[Path], Recipe], image_folder: Callable[..., Path]
) -> None:
    path = image_folder("train/a", "train/b", "test/a", "validations/a")
    assert len(check_files(of_folder(path))) == 5
    assert measure_images(of_folder(path), silent).remarks == ["The test split holds no image of class 'b'."]


def test_copies_between_the_splits_are_remarked(
    of_folder: Callable[[Path], Recipe], image_folder: Callable[..., Path]
) -> None:
    path = image_folder("train/a", "train/b", "test/a")
    for file in (path / "train").glob("*/*.png"):  # half of these are held out for validation
        Image.fromarray(np.asarray(Image.open(file))).save(path / "test" / "a" / f"{file.parent.name}{file.stem}.bmp")
    *_, remark = measure_images(of_folder(path), silent).remarks
    assert remark.startswith("Exact copies of training images: 4 of 12 test images.")


def test_a_missing_archive_is_told_before_anything_is_downloaded(tiny: Tiny) -> None:
    with pytest.raises(MachineError, match="is missing"):
        check_files(tiny({"data.source": "cifar10", "data.image_size": 32, "data.channels": 3}))
