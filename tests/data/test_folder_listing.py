"""What a folder of images holds by its names: layouts, classes, links, and all that is not used."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from onecycle_cli.data.folder_listing import Listing, images_below, list_class_folder, list_folder
from onecycle_cli.errors import InputError, MachineError

Make = Callable[..., Path]


def refused(path: Path, layout: str = "auto") -> InputError:
    with pytest.raises(InputError) as caught:
        list_folder(path, layout)
    return caught.value


def counts(listing: Listing) -> dict[str, int]:
    return {f"{split}/{name}": images for (split, name), images in listing.labelled().inventory.counts.items()}


def skipped(listing: Listing) -> list[tuple[str, str]]:
    return [(one.path.name, one.what) for one in listing.skipped]


@pytest.mark.parametrize(
    ("classes", "what"),
    [
        (("train/a",), "images in the folder 'a' only, but a classifier needs at least two classes"),
        (("a",), "images in the folder 'a' only"),
        (("train/a", "train/b", "test/a", "test/stranger"), "not classes of the training images: stranger"),
        (("train/a", "train/b", "valid/a", "valid/stranger"), "not classes of the training images: stranger"),
    ],
)
def test_what_a_folder_lacks_is_told(image_folder: Make, classes: tuple[str, ...], what: str) -> None:
    assert what in refused(image_folder(*classes)).what


@pytest.mark.parametrize("splits", [("",), ("train/", "test/"), ("train/", "valid/", "test/")])
@pytest.mark.parametrize("name", ["empty", "__MACOSX", "notes"])
def test_folders_without_images_are_no_classes_in_any_layout(
    image_folder: Make, splits: tuple[str, ...], name: str
) -> None:
    path = image_folder(*(f"{split}{label}" for split in splits for label in "ab"))
    for split in splits:
        (path / split / name / "deeper").mkdir(parents=True)
        (path / split / name / "deeper" / "._0.png").touch()
        (path / split / name / "readme.txt").touch()
    listing = list_folder(path)
    assert listing.classes == ("a", "b")
    assert [one for one, _ in skipped(listing)].count(name) == len(splits)


def test_thumbnails_that_a_system_made_are_no_images_of_a_class(image_folder: Make) -> None:
    path = image_folder("a", "b", "@eaDir", "a/@eaDir/0.png")
    listing = list_folder(path)
    assert counts(listing) == {"train/a": 4, "train/b": 4}
    assert [one for one, _ in skipped(listing)] == ["@eaDir", "@eaDir"]


def test_a_class_that_another_split_lacks_counts_no_images_there(image_folder: Make) -> None:
    listing = list_folder(image_folder("train/a", "train/b", "test/a"))
    assert counts(listing) == {"train/a": 4, "train/b": 4, "test/a": 4, "test/b": 0}


def test_below_a_split_every_name_is_a_class(image_folder: Make) -> None:
    names = ("bus", "test", "train", "valid")
    path = image_folder(*(f"{split}/{name}" for split in ("train", "test") for name in names))
    assert list_folder(path).classes == names


@pytest.mark.parametrize("names", [("bus", "car", "train"), ("test", "train", "valid"), ("a", "Testing")])
def test_a_flat_folder_with_classes_called_as_splits_can_be_said_to_be_flat(
    image_folder: Make, names: tuple[str, ...]
) -> None:
    path = image_folder(*names)
    assert "data.layout=flat" in refused(path).fix
    assert list_folder(path, "flat").classes == tuple(sorted(names))


def test_a_layout_of_splits_needs_a_folder_train(image_folder: Make) -> None:
    assert "has no folder 'train'" in refused(image_folder("a", "b"), "splits").what


def test_folders_that_sound_like_splits_are_no_classes(image_folder: Make) -> None:
    path = image_folder("Training/a", "Training/b", "Testing/a", "Testing/b")
    assert "has Testing and Training, which sound like splits" in refused(path).what


@pytest.mark.parametrize("other", ["validation", "testing", "Test", "holdout"])
def test_a_folder_that_looks_like_a_split_and_is_not_used_is_named(image_folder: Make, other: str) -> None:
    path = image_folder(*(f"{split}/{name}" for split in ("train", "valid", "test", other) for name in "ab"))
    assert skipped(list_folder(path)) == [(other, "looks like a split, and is not used")]


def test_images_outside_of_class_folders_are_counted(image_folder: Make) -> None:
    path = image_folder("train/a", "train/b", "train", "test/a")
    (path / "cover.jpg").touch()
    listing = list_folder(path)
    assert [(one.path.name, one.files) for one in listing.skipped] == [("train", 4), ("photos", 1)]


def test_files_of_other_formats_are_counted_with_their_endings(image_folder: Make) -> None:
    path = image_folder("a", "b")
    for name in ("x.txt", "y.TXT", "z", ".hidden.txt"):
        (path / "a" / name).touch()
    (one,) = list_folder(path).skipped
    assert str(one) == f"{path / 'a'}: 3 files, not of an image format (endings: .txt, none)"


def test_a_link_to_a_folder_is_followed(image_folder: Make) -> None:
    path = image_folder("a", "b")
    more = image_folder("x/y", images=3, name="elsewhere")
    (path / "a" / "more").symlink_to(more / "x")
    (path / "c").symlink_to(more)
    assert counts(list_folder(path)) == {"train/a": 7, "train/b": 4, "train/c": 3}
    assert len(images_below(path / "a")) == 7


def test_links_do_not_lead_round_in_circles_or_count_twice(image_folder: Make) -> None:
    path = image_folder("a/inner", "b")
    (path / "a" / "up").symlink_to(path)
    (path / "a" / "inner" / "itself").symlink_to(path / "a" / "inner")
    (path / "a" / "twice").symlink_to(path / "a" / "inner")
    (path / "b" / "root").symlink_to("/")
    (path / "b" / "loop").symlink_to("loop")
    listing = list_folder(path)
    assert counts(listing) == {"train/a": 4, "train/b": 4}
    assert dict(skipped(listing)) == {
        "up": "a link to a folder above it",
        "itself": "leads to a folder that is already counted",
        "twice": "leads to a folder that is already counted",
        "root": "a link to a folder above it",
        "loop": "a broken link",
    }


def test_a_folder_of_classes_to_be_scored_holds_known_ones_alone(image_folder: Make) -> None:
    path = image_folder("b", "c", images=1)
    (path / "empty").mkdir()
    listing = list_class_folder(path, ("a", "b", "c"))
    assert listing.files() == [(path / "b/0.png", 1), (path / "c/0.png", 2)]
    with pytest.raises(InputError, match="not classes of the training images: c"):
        list_class_folder(path, ("a", "b"))


def test_a_folder_without_any_images_is_refused(tmp_path: Path) -> None:
    (tmp_path / "none" / "a").mkdir(parents=True)
    (tmp_path / "none" / "b").mkdir()
    assert "holds no folders with images" in refused(tmp_path / "none").what
    with pytest.raises(InputError, match="holds no images"):
        list_class_folder(tmp_path / "none", ("a", "b"))


@pytest.mark.parametrize("split", ["valid", "test"])
def test_a_split_without_any_images_is_refused(image_folder: Make, split: str) -> None:
    path = image_folder("train/a", "train/b")
    (path / split / "a").mkdir(parents=True)
    assert f"{split} holds no images" in refused(path).what


def test_a_folder_that_is_not_there_or_is_a_file_is_told(tmp_path: Path) -> None:
    assert "There is no folder" in refused(tmp_path / "nowhere").what
    (tmp_path / "file").touch()
    assert "is a file" in refused(tmp_path / "file").what


@pytest.mark.parametrize("number", [errno.EIO, errno.EACCES, errno.EINTR])
def test_a_folder_that_the_system_cannot_look_into_is_an_error(
    image_folder: Make, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """A disk that fails is none of the images' fault, and to leave the folder out would train on fewer of them."""
    path, scandir = image_folder("a", "b"), os.scandir

    def failing(folder: Path) -> object:
        if Path(folder).name == "b":
            raise OSError(number, os.strerror(number), str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(MachineError, match=f"b cannot be listed: {os.strerror(number)}"):
        list_folder(path, "auto")
