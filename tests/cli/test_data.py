"""`data get` and `data check`."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torchvision
from typer.testing import Result

Command = Callable[..., Result]
SPLITS = ((0, "train"), (1, "train"), (2, "test"))
TORCHVISION = ("--set", "data.source=torchvision", "--set", "data.dataset=KMNIST")


def folder_words(path: Path) -> tuple[str, ...]:
    return ("cifar10-resnet8", "--set", "data.source=image_folder", "--set", f"data.path={path}")


def test_get_decodes_a_folder_ahead_of_time_and_says_what_is_in_it(onecycle: Command, image_folder: Callable) -> None:
    path = image_folder("train/cat", "train/dog", "test/cat", images=3)
    result = onecycle("data", "get", *folder_words(path))
    assert result.exit_code == 0
    lines = dict(line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert lines["train"] == "6 images"
    assert lines["valid"] == "3 images, test split"
    assert lines["classes"] == "2: cat, dog"
    assert "decoding 9/9 images" in result.stderr
    assert path.with_name("photos.onecycle-cache").is_dir()


def test_check_shows_each_class_and_the_brightness_of_the_images(onecycle: Command, image_folder: Callable) -> None:
    path = image_folder("train/cat", "train/dog", "test/cat", images=3)
    result = onecycle("data", "check", *folder_words(path))
    assert result.exit_code == 0
    table, _, pairs = result.stdout.partition("\n\n")
    assert [line.split() for line in table.splitlines()] == [
        ["split", "class", "images", "not", "used"],
        ["train", "cat", "3"],
        ["train", "dog", "3"],
        ["test", "cat", "3"],
        ["test", "dog", "0"],
    ]
    lines = dict(line.split(maxsplit=1) for line in pairs.splitlines())
    assert lines["valid"] == "3 images, test split"
    assert len(lines["mean"].split(", ")) == len(lines["std"].split(", ")) == 3


def test_get_and_check_show_a_table_as_they_show_a_folder(
    onecycle: Command, image_folder: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision.datasets.KMNIST, "mirrors", ["http://127.0.0.1:9/"])
    path = image_folder("a", "b", images=3) / "table.csv"
    rows = [
        f"{folder}/{n}.png,{name},{split}\n" for folder, name in (("a", "cat"), ("b", "dog")) for n, split in SPLITS
    ]
    path.write_text("path,label,split\n" + "".join(rows))
    words = ("cifar10-resnet8", "--set", "data.source=csv", "--set", f"data.path={path}")
    lines = onecycle("data", "get", *words).stdout.splitlines()
    assert [line.split(maxsplit=1) for line in lines[:2]] == [["source", "csv"], ["train", "4 images"]]
    table, _, _ = onecycle("data", "check", *words).stdout.partition("\n\n")
    assert [line.split() for line in table.splitlines()[1:]] == [
        *(["train", "cat", "2"], ["train", "dog", "2"], ["test", "cat", "1"], ["test", "dog", "1"])
    ]
    path.write_text("path,label,split\n" + "".join(rows) + "x.png,cat,train\n")
    missing = onecycle("data", "check", *words)
    assert missing.exit_code == 2
    assert "one file is missing" in missing.stderr
    (dataset,) = {onecycle("data", what, "cifar10-resnet8", *TORCHVISION).exit_code for what in ("get", "check")}
    assert dataset == 5


def test_check_tells_what_is_not_there(onecycle: Command, tmp_path: Path) -> None:
    missing = onecycle("data", "check", *folder_words(tmp_path / "nowhere"))
    assert missing.exit_code == 2
    assert "There is no folder" in missing.stderr
    archive = onecycle("data", "check", "cifar10-resnet56")
    assert archive.exit_code == 5
    assert "cifar-10-python.tar.gz is missing" in archive.stderr
    assert "onecycle data get" in archive.stderr


def test_the_digits_are_always_there(onecycle: Command) -> None:
    assert "1,437 images" in onecycle("data", "check", "digits").stdout
    assert "1,437 images" in onecycle("data", "get", "digits").stdout


def test_show_draws_a_batch_to_a_new_file_and_never_over_another(onecycle: Command, tmp_path: Path) -> None:
    result = onecycle("data", "show", "digits", "--images", "4", "--set", "augmentation=strong")
    assert result.exit_code == 0
    assert result.stdout == "4 images of the first training batch: digits-batch.png\n"
    before = (tmp_path / "digits-batch.png").read_bytes()
    again = onecycle("data", "show", "digits")
    assert again.exit_code == 2
    assert "digits-batch.png exists already" in again.stderr
    assert (tmp_path / "digits-batch.png").read_bytes() == before
    elsewhere = onecycle("data", "show", "digits", "--output", tmp_path / "mine.png", "--batch-size", "3")
    assert elsewhere.stdout == f"3 images of the first training batch: {tmp_path / 'mine.png'}\n"
    assert (tmp_path / "mine.png").is_file()
