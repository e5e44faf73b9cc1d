from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from PIL import Image

Counts = dict[str, dict[str, int]]


@pytest.fixture
def sets(module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module, whose made sets have 8 test images at most."""
    sets = module("image_sets")
    monkeypatch.setattr(sets, "TEST_IMAGES", 8)
    return sets


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """20 training images and 8 test images of each of two classes, white in the first quarter."""
    for split, count in (("train", 20), ("test", 8)):
        for name in ("cat", "dog"):
            folder = tmp_path / "set" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                pixels = np.zeros((4, 4, 3), np.uint8)
                pixels[:2, :2] = 255
                pixels[3, 3] = number
                Image.fromarray(pixels).save(folder / f"{number}.png")
    return tmp_path / "set"


def counts(folder: Path) -> Counts:
    """The number of images by split and class."""
    return {
        split.name: {one.name: len(list(one.iterdir())) for one in sorted(split.iterdir())}
        for split in sorted(folder.iterdir())
    }


def test_a_subset_has_all_test_images(sets: ModuleType, source: Path) -> None:
    assert counts(sets.subset(source, 8)) == {"test": {"cat": 8, "dog": 8}, "train": {"cat": 4, "dog": 4}}
    assert counts(sets.subset(source, 8, ("dog",))) == {"test": {"dog": 8}, "train": {"dog": 8}}


def test_some_images_have_few_test_images_and_may_be_unequal(sets: ModuleType, source: Path) -> None:
    assert counts(sets.some(source, 8)) == {"test": {"cat": 4, "dog": 4}, "train": {"cat": 4, "dog": 4}}
    assert counts(sets.some(source, 20, unequal=0.3))["train"] == {"cat": 10, "dog": 3}


def test_a_set_is_made_once_and_the_same_each_time(sets: ModuleType, source: Path) -> None:
    made = sets.some(source, 8)
    names = sorted(path.relative_to(made) for path in made.rglob("*.png"))
    (made / "mark").touch()
    assert sets.some(source, 8) == made
    assert (made / "mark").exists()
    made.rename(made.with_name("first"))
    assert sorted(path.relative_to(made) for path in sets.some(source, 8).rglob("*.png")) == names


def test_wrong_labels_keep_the_images_and_the_test_labels(sets: ModuleType, source: Path) -> None:
    made = sets.with_wrong_labels(source, 0.5)
    found = counts(made)
    assert found["test"] == {"cat": 8, "dog": 8}
    assert sum(found["train"].values()) == 40
    wrong = [path for path in (made / "train").rglob("*.png") if not path.name.startswith(path.parent.name)]
    assert 10 <= len(wrong) <= 30


def test_a_rotated_set_has_a_class_for_each_turn(sets: ModuleType, source: Path) -> None:
    made = sets.rotated(source, 16)
    assert counts(made)["train"] == {f"{name}-{turn}": 2 for name in ("cat", "dog") for turn in (0, 180, 270, 90)}
    for turn, corner in ((0, (0, 0)), (90, (3, 0)), (180, (3, 3)), (270, (0, 3))):
        file = next((made / "train" / f"cat-{turn}").iterdir())
        assert np.asarray(Image.open(file))[corner][0] == 255, turn


def test_pairs_have_a_class_for_each_pair_and_are_twice_as_wide(sets: ModuleType, source: Path) -> None:
    made = sets.pairs(source, 8)
    assert counts(made)["train"] == dict.fromkeys(("catcat", "catdog", "dogcat", "dogdog"), 2)
    with Image.open(next((made / "test" / "catdog").iterdir())) as image:
        assert image.size == (8, 4)


def test_two_sets_are_joined_with_all_their_classes(sets: ModuleType, source: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    for split in ("train", "test"):
        (other / split / "0").mkdir(parents=True)
        for number in range(8):
            Image.new("L", (6, 6)).save(other / split / "0" / f"{number}.png")
    made = sets.joined(source, other, 9)
    assert counts(made)["train"] == {"0": 3, "cat": 3, "dog": 3}
    with Image.open(next((made / "train" / "0").iterdir())) as image:
        assert (image.mode, image.size) == ("RGB", (32, 32))
