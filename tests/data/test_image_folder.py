"""A person's folder of images: its shapes, its cache, and what may be wrong with it."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from onecycle_cli.data import decoded_cache as module
from onecycle_cli.data.cache import cache_folder
from onecycle_cli.data.decoding import decode
from onecycle_cli.data.image_folder import read, signature
from onecycle_cli.data.images import Source
from onecycle_cli.errors import InputError
from onecycle_cli.progress import Progress, Report, silent

Make = Callable[..., Path]


def read_image_folder(path: Path, image_size: int, channels: int, report: Report) -> Source:
    return read(settings_of(path, image_size, channels), report)


def settings_of(path: Path, image_size: int = 8, channels: int = 3) -> Any:
    how = {"image_size": image_size, "channels": channels, "resize": "shorter_side", "interpolation": "bilinear"}
    return SimpleNamespace(path=str(path), layout="auto", **how)


def folder_signature(path: Path) -> str:
    return signature(settings_of(path))


def notes(path: Path) -> list[str]:
    news: list[Progress | str] = []
    read(settings_of(path), news.append)
    return [one for one in news if isinstance(one, str)]


def refused(path: Path) -> InputError:
    with pytest.raises(InputError) as caught:
        read_image_folder(path, 8, 3, silent)
    return caught.value


def decodings(path: Path, **settings: int) -> int:
    """How many images are decoded when the folder is read."""
    news: list[Progress | str] = []
    read_image_folder(path, **({"image_size": 8, "channels": 3} | settings), report=news.append)
    return max((one.done for one in news if isinstance(one, Progress)), default=0)


def test_training_and_test_images_are_read_class_by_class(image_folder: Make) -> None:
    path = image_folder("train/dog", "train/cat", "test/cat", "test/dog", images=3)
    found = read_image_folder(path, 8, 3, silent)
    assert found.classes == ("cat", "dog")
    assert found.train.labels.tolist() == found.test.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert found.valid is None
    assert np.array_equal(found.train.images[4], decode(path / "train/dog/1.png", 8, 3))
    assert np.array_equal(found.test.images[0], decode(path / "test/cat/0.png", 8, 3))


@pytest.mark.parametrize("name", ["valid", "val", "validation"])
def test_a_validation_folder_is_found_under_its_usual_names(image_folder: Make, name: str) -> None:
    path = image_folder("train/a", "train/b", f"{name}/a", f"{name}/b")
    assert len(read_image_folder(path, 8, 3, silent).valid) == 8


def test_a_folder_of_classes_is_all_training(image_folder: Make) -> None:
    found = read_image_folder(image_folder("a", "b", "c"), 8, 1, silent)
    assert found.train.images.shape == (12, 8, 8, 1)
    assert found.valid is None
    assert found.test is None


def test_images_in_inner_folders_belong_to_the_class(image_folder: Make) -> None:
    path = image_folder("a/x", "a/y", "b", images=2)
    assert read_image_folder(path, 8, 3, silent).train.labels.tolist() == [0, 0, 0, 0, 1, 1]


def test_images_are_decoded_once(image_folder: Make) -> None:
    path = image_folder("a", "b")
    assert decodings(path) == 8
    assert decodings(path) == 0
    assert path.with_name("photos.onecycle-cache").is_dir()


def test_each_size_and_number_of_channels_has_its_own_cache(image_folder: Make) -> None:
    path = image_folder("a", "b")
    assert [decodings(path), decodings(path, image_size=9), decodings(path, channels=1), decodings(path)] == [
        8,
        8,
        8,
        0,
    ]


def test_a_file_that_comes_goes_or_changes_makes_the_cache_again(image_folder: Make) -> None:
    path = image_folder("a", "b")
    decodings(path)
    Image.new("RGB", (8, 8)).save(path / "a" / "new.png")
    assert decodings(path) == 9
    (path / "a" / "new.png").unlink()
    assert decodings(path) == 8
    Image.new("RGB", (8, 8), "red").save(path / "a" / "0.png")
    assert decodings(path) == 8
    assert (read_image_folder(path, 8, 3, silent).train.images[0] == (255, 0, 0)).all()
    os.utime(path / "a" / "1.png", ns=(1, 1))
    assert decodings(path) == 0  # the content is the same
    (path / "a" / "1.png").rename(path / "a" / "one.png")
    assert decodings(path) == 8


@pytest.mark.parametrize("damage", [lambda whole: whole[:-100], lambda _: b"", lambda _: b"nonsense"])
def test_a_cache_that_is_damaged_is_made_again(image_folder: Make, damage: Callable[[bytes], bytes]) -> None:
    path = image_folder("a", "b")
    images = read_image_folder(path, 8, 3, silent).train.images.copy()
    cached = path.with_name("photos.onecycle-cache") / "8px-3ch" / "images.npy"
    cached.write_bytes(damage(cached.read_bytes()))
    assert decodings(path) == 8
    assert np.array_equal(read_image_folder(path, 8, 3, silent).train.images, images)


def test_a_run_that_has_the_old_array_keeps_it(image_folder: Make) -> None:
    path = image_folder("a", "b")
    before = read_image_folder(path, 8, 3, silent).train.images
    copy = before.copy()
    Image.new("RGB", (8, 8), "red").save(path / "a" / "0.png")
    read_image_folder(path, 8, 3, silent)
    assert np.array_equal(before, copy)


def test_where_it_cannot_be_written_beside_the_cache_is_the_users(
    image_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = image_folder("a", "b")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere, so no mode keeps it out
    assert decodings(path) == 8
    assert decodings(path) == 0
    assert not path.with_name("photos.onecycle-cache").exists()
    assert list((cache_folder() / "image_folder").iterdir())


def test_many_images_are_decoded_in_several_processes(image_folder: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    path = image_folder("a", "b", images=20)
    alone = read_image_folder(path, 8, 3, silent).train.images.copy()
    Image.new("RGB", (8, 8)).save(path / "b" / "z.png")
    monkeypatch.setattr(module, "ALONE", 10)
    monkeypatch.setattr(module, "CHUNK", 7)
    assert np.array_equal(read_image_folder(path, 8, 3, silent).train.images[:40], alone)


def test_unreadable_images_are_named_and_nothing_is_kept(image_folder: Make) -> None:
    path = image_folder("a", "b")
    (path / "a" / "text.jpg").write_text("not an image")
    (path / "b" / "empty.png").touch()
    error = refused(path)
    assert "2 files cannot be read as images" in error.what
    assert str(path / "a" / "text.jpg") in error.what
    assert str(path / "b" / "empty.png") in error.what
    (path / "a" / "text.jpg").unlink()
    (path / "b" / "empty.png").unlink()
    assert len(read_image_folder(path, 8, 3, silent).train) == 8


def test_of_many_unreadable_images_ten_are_named(image_folder: Make) -> None:
    path = image_folder("a", "b")
    for number in range(13):
        (path / "a" / f"bad{number}.png").touch()
    assert "and 3 more" in refused(path).what


def test_a_link_to_nowhere_is_named(image_folder: Make) -> None:
    path = image_folder("a", "b")
    (path / "a" / "lost.png").symlink_to("nowhere.png")
    assert "lost.png cannot be read: No such file" in refused(path).what


def test_a_pipe_is_refused_rather_than_waited_for(image_folder: Make) -> None:
    path = image_folder("a", "b")
    os.mkfifo(path / "a" / "pipe.png")
    assert "a/pipe.png is not a regular file: it is a pipe" in refused(path).what


def test_links_that_go_round_in_circles_are_not_followed(image_folder: Make) -> None:
    path = image_folder("train/a", "train/b", "test/a", "test/b")
    (path / "train" / "a" / "up").symlink_to(path / "train")
    (path / "train" / "itself").symlink_to("itself")
    assert len(read_image_folder(path, 8, 3, silent).train) == 8
    (path / "train" / "a" / "circle.png").symlink_to("circle.png")
    assert "circle.png cannot be read: Too many levels of symbolic links" in refused(path).what


def test_names_may_hold_whatever_a_file_system_allows(image_folder: Make) -> None:
    classes = (" two words", "a\nline", "größe 猫", os.fsdecode(b"raw\xff"), "$(x) `y` 'z'")
    path = image_folder(*(f"{split}/{name}" for split in ("train", "test") for name in classes), name="my photos\n🌲")
    found = read_image_folder(path, 8, 3, silent)
    assert found.classes == tuple(sorted(classes))
    assert len(found.train) == len(found.test) == 20
    assert decodings(path) == 0


def test_a_full_disk_is_an_error_of_the_machine_and_no_crash(
    image_folder: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    path = image_folder("a", "b")
    with pytest.raises(OSError, match="No space left"):
        read_image_folder(path, 8, 3, silent)
    monkeypatch.undo()
    assert len(read_image_folder(path, 8, 3, silent).train) == 8


def test_two_folders_that_are_swapped_with_equal_sizes_and_times_are_decoded_again(image_folder: Make) -> None:
    path = image_folder("a", "b")
    for file in path.glob("*/*.png"):
        Image.new("RGB", (8, 8), "red" if file.parent.name == "a" else "tan").save(file)
        os.utime(file, ns=(10**18, 10**18))
    before, known = read_image_folder(path, 8, 3, silent).train.images.copy(), folder_signature(path)
    (path / "a").rename(path / "c")
    (path / "b").rename(path / "a")
    (path / "c").rename(path / "b")
    assert np.array_equal(read_image_folder(path, 8, 3, silent).train.images, before[::-1])
    assert folder_signature(path) != known


def test_the_signature_is_that_of_the_same_images_elsewhere(image_folder: Make) -> None:
    one, other = image_folder("a", "b"), image_folder("a", "b", name="copied")
    assert folder_signature(one) == folder_signature(other)


def test_what_is_not_used_is_noted_and_of_much_the_first_lines(image_folder: Make) -> None:
    path = image_folder("train/a", "train/b", "test/a", "valid/a", "valid/b")
    (path / "train" / "a" / "readme.txt").write_text("x")
    assert notes(path) == [
        f"Not used: {path / 'train' / 'a'}: 1 file, not of an image format (endings: .txt).",
        "The test split holds no image of class 'b'.",
    ]
    for number in range(9):
        (path / f"other{number}").mkdir()
    assert notes(path)[4] == "Not used: and 6 more; `onecycle data check` lists all."


def test_images_with_more_than_8_bits_are_noted(image_folder: Make) -> None:
    path = image_folder("a", "b")
    deep = (np.arange(144).reshape(12, 12) * 20).astype(np.uint16)
    Image.fromarray(deep).save(path / "a" / "deep.png")
    (note,) = notes(path)
    assert note.startswith("1 images have more than 8 bits per channel: their values from 2.86 to 2857.14, the 0.1 %")
