"""A training knows its images again: whatever their files are called, and whoever was in which split."""

import errno
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from onecycle_cli.data.images import ImageData, Split
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.kept_images import copies_note, keep_images, kept_images, rebuilt_split, trained_on
from onecycle_cli.run_dir.run import RunDir

Make = Callable[..., RunDir]


def split(*levels: int, labels: tuple[int, ...] | None = None) -> Split:
    """Images of 2x2 pixels, each of one level; the label is 0 or 1 by the level unless given."""
    images = np.stack([np.full((2, 2, 1), level, dtype=np.uint8) for level in levels])
    return Split(images, np.array(labels or [level % 2 for level in levels]))


def data(train: Split, valid: Split, test: Split | None = None) -> ImageData:
    return ImageData(train, valid, "held out for validation", test, ("a", "b"), (0.5,), (0.5,), "", None)


ARCHIVE = b"PK\x05\x06" + bytes(18)
"""An empty zip archive, which `np.load` would take for one of arrays."""


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, command="train", recipe_name="x", recipe_yaml="", facts={}, name="run")


@pytest.fixture
def kept(run: RunDir) -> RunDir:
    keep_images(data(split(1, 2, 3, 4), split(5, 6)), run)
    return run


def test_what_was_kept_is_a_table_that_pandas_reads(kept: RunDir) -> None:
    table = pd.DataFrame(np.load(kept.path / "images.npy"))
    assert table.split.tolist() == [b"train"] * 4 + [b"valid"] * 2
    assert table.label.tolist() == [1, 0, 1, 0, 1, 0]
    assert table.content.nunique() == 6
    assert (kept.path / "images.npy").stat().st_size < 6 * 17 + 200


def test_a_run_of_an_older_version_has_none(run: RunDir) -> None:
    assert kept_images(run) is None


@pytest.mark.parametrize("damage", [lambda _: b"", lambda _: b"nonsense", lambda whole: whole[:-5], lambda _: ARCHIVE])
def test_a_damaged_file_is_named(kept: RunDir, damage: Callable[[bytes], bytes]) -> None:
    file = kept.path / "images.npy"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(InputError, match=r"images\.npy is damaged"):
        kept_images(kept)


def test_a_disk_that_fails_is_no_damage(kept: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(np.lib.format, "open_memmap", fail)
    with pytest.raises(OSError, match="Input/output error") as caught:
        kept_images(kept)
    assert caught.value.filename == str(kept.path / "images.npy")


def test_the_same_images_give_the_same_split(kept: RunDir) -> None:
    found, moved = rebuilt_split(kept_images(kept), data(split(1, 2, 3, 4), split(5, 6)))
    assert found.images[:, 0, 0, 0].tolist() == [5, 6]
    assert not moved


def test_a_split_is_rebuilt_by_content_after_files_were_renamed(kept: RunDir) -> None:
    found, moved = rebuilt_split(kept_images(kept), data(split(5, 2, 1, 4), split(3, 6)))
    assert found.images[:, 0, 0, 0].tolist() == [5, 6]
    assert found.labels.tolist() == [1, 0]
    assert moved


def test_images_that_moved_to_a_test_split_are_found_there(kept: RunDir) -> None:
    found, _ = rebuilt_split(kept_images(kept), data(split(1, 2), split(3, 4), split(6, 5)))
    assert sorted(found.images[:, 0, 0, 0].tolist()) == [5, 6]


def test_equal_images_in_both_splits_count_as_many_times(run: RunDir) -> None:
    keep_images(data(split(1, 1, 2), split(1, 4)), run)
    found, _ = rebuilt_split(kept_images(run), data(split(1, 4, 2), split(1, 1)))
    assert sorted(found.images[:, 0, 0, 0].tolist()) == [1, 4]


@pytest.mark.parametrize(
    ("now", "what"),
    [
        (data(split(1, 2, 3, 4), split(5)), "of 6, 1 gone"),
        (data(split(1, 2, 3, 4, 7), split(5, 6)), "of 6, 1 new"),
        (data(split(1, 2, 3, 9), split(5, 6)), "of 6, 1 gone, 1 new"),
        (data(split(1, 2, 3, 4), split(5, 6, labels=(0, 1))), "of 6, 2 in another class"),
        (data(split(1, 2, 3, 4, 4), split(5, 6)), "of 6, 1 new"),
    ],
)
def test_what_changed_is_counted(kept: RunDir, now: ImageData, what: str) -> None:
    with pytest.raises(InputError, match=f"its split cannot be rebuilt: {what}"):
        rebuilt_split(kept_images(kept), now)


def test_images_that_the_model_was_trained_on_are_counted(kept: RunDir) -> None:
    assert trained_on(kept_images(kept), split(1, 1, 6, 9).contents) == 2


def test_copies_of_training_images_are_told_of_each_split() -> None:
    assert copies_note(data(split(1, 2), split(3, 4), split(5, 6))) is None
    told = copies_note(data(split(1, 2), split(1, 4), split(2, 1, 6)))
    assert told is not None
    assert told.startswith("Exact copies of training images: 1 of 2 validation images and 2 of 3 test images.")
