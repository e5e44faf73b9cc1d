"""Images in Parquet files: which files, which splits, which classes."""

import errno
import glob
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from onecycle_cli.data import decoded_cache
from onecycle_cli.data.cache import cache_folder
from onecycle_cli.data.parquet import _matches, inventory, read, signature
from onecycle_cli.errors import InputError, MachineError
from onecycle_cli.progress import silent

Settings = Callable[..., Any]
NAMES = {"info": {"features": {"label": {"names": ["dog", "cat", "owl"], "_type": "ClassLabel"}}}}


@pytest.fixture
def write(tmp_path: Path, png: Callable[[int], bytes]) -> Callable[..., Path]:
    """Writes a Parquet file of images with the grey levels 0, 1, 2, ..., with a row for each label."""

    def written(name: str, labels: list, *, struct: bool = True, names: bool = False, **columns: list) -> Path:
        images: list[Any] = [png(n) for n in range(len(labels))]
        if struct:
            images = [{"bytes": image, "path": f"{n}.png"} for n, image in enumerate(images)]
        table = pa.table({"image": images, "label": labels} | columns)
        if names:
            table = table.replace_schema_metadata({"huggingface": json.dumps(NAMES)})
        file = tmp_path / "set" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(table, file, row_group_size=3)
        return file

    return written


def levels(split: Any) -> list[int]:
    return split.images[:, 0, 0, 0].tolist()


def refused(made: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        inventory(made)
    return caught.value


@pytest.mark.parametrize("struct", [True, False])
def test_a_file_of_images_is_read_class_by_class_and_then_row_by_row(
    write: Callable, settings: Settings, struct: bool
) -> None:
    made = settings(path=write("a.parquet", ["b", "a", "b", "a", "a"], struct=struct))
    found = read(made, silent)
    assert found.classes == ("a", "b")
    assert levels(found.train) == [1, 3, 4, 0, 2]
    assert found.train.labels.tolist() == [0, 0, 0, 1, 1]
    assert found.signature == signature(made)


@pytest.mark.parametrize(
    "names",
    [
        ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet", "validation-0.parquet", "test.parquet"),
        ("data/train/0000.parquet", "data/train/0001.parquet", "data/val/0000.parquet", "data/Test/0000.parquet"),
    ],
)
def test_files_are_sorted_into_splits_by_their_names_or_those_of_their_folders(
    write: Callable, settings: Settings, tmp_path: Path, names: tuple[str, ...]
) -> None:
    for name, labels in zip(names, ([1, 0], [0], [1], [0, 1]), strict=True):
        write(name, labels, names=True)
    write("extra.parquet", [0])
    write(".hidden.parquet", [0])
    made = settings(path=tmp_path / "set")
    found = inventory(made)
    assert found.counts == {
        ("train", "dog"): 2,
        ("train", "cat"): 1,
        ("valid", "dog"): 0,
        ("valid", "cat"): 1,
        ("test", "dog"): 1,
        ("test", "cat"): 1,
    }
    assert [str(one) for one in found.skipped] == [
        f"{tmp_path / 'set' / 'extra.parquet'}: its name tells no split, as those of other files do"
    ]
    assert levels(read(made, silent).train) == [1, 0, 0]


def test_a_pattern_means_all_files_that_fit_it(write: Callable, settings: Settings, tmp_path: Path) -> None:
    write("train-0.parquet", [0, 1])
    write("test-0.parquet", [0, 1])
    write("other.parquet", ["x"])
    made = settings(path=f"{tmp_path}/set/t*.parquet")
    assert len(read(made, silent).test) == 2
    assert list((cache_folder() / "parquet").iterdir())
    assert "There are no Parquet files at" in refused(settings(path=f"{tmp_path}/set/*.pq")).what


@pytest.mark.parametrize("pattern", ["", "*/t*.parquet", "**/*.parquet", "**", "b/*.parquet", "*/train.parquet"])
@pytest.mark.parametrize("call", ["scandir", "stat"])
def test_a_folder_that_cannot_be_looked_into_is_an_error(
    write: Callable, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pattern: str, call: str
) -> None:
    """To leave it out would train on fewer images. Folders that need not be looked into may be closed."""
    for name in ("a/train.parquet", "b/train.parquet", "lost+found/train.parquet"):
        write(name, [0, 1])
    real, root = getattr(os, call), tmp_path / "set"

    def failing(path: Any = ".", *arguments: Any, **options: Any) -> Any:
        folder = Path(path) if call == "scandir" else Path(path).parent
        if folder.name in ("b", "lost+found") or (call == "scandir" and not folder.is_relative_to(root)):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path, *arguments, **options)

    monkeypatch.setattr(os, call, failing)
    assert inventory(settings(path=root / "a*" / "t*.parquet")).counts["train", "0"] == 1
    if (call, pattern) == ("scandir", "*/train.parquet"):  # it names what is in b, which need not be listed
        return
    with pytest.raises((PermissionError, MachineError), match="/b"):
        inventory(settings(path=root / pattern))


def test_a_disk_that_fails_in_the_middle_of_a_listing_is_an_error(
    write: Callable, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("b/train.parquet", [0, 1])

    class Failing:
        def __enter__(self) -> "Failing":
            return self

        def __exit__(self, *_: object) -> None: ...

        def __iter__(self) -> "Failing":
            return self

        def __next__(self) -> None:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "scandir", lambda _: Failing())
    for pattern in ("", "*.parquet", "**/*.parquet"):
        with pytest.raises(OSError, match=r"Input/output error: '.*/set/b"):
            inventory(settings(path=tmp_path / "set" / "b" / pattern))


def test_a_pattern_fits_what_glob_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a/x.parquet", "a/b/x.parquet", "a/b/y1.parquet", ".h/x.parquet", "a/.x.parquet", "c[1]/x.parquet"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).touch()
    Path("a/link").symlink_to(tmp_path / "c[1]")
    Path("a/b/circle").symlink_to(tmp_path / "a")
    for pattern in (
        *(
            "*/x.parquet",
            "**/x.parquet",
            "a/**/*.parquet",
            "a/**",
            "**/b/**/*.parquet",
            "*/b/[xy]*",
            "a/?/y[0-9].parquet",
        ),
        *(".h/*.parquet", ".*/*.parquet", "a/.*", "c[[]1]/*", "no/*.parquet", "*/*/x.parquet", "a/x.parquet/*"),
    ):
        for path in (Path(pattern), tmp_path / pattern):
            expected = {Path(found) for found in glob.glob(str(path), recursive=True)}  # noqa: PTH207
            found = {file for file in _matches(path) if file.is_file()}
            assert found == {one for one in expected if one.is_file() and "circle" not in str(one)}


def test_a_column_of_splits_is_used_where_names_tell_none(write: Callable, settings: Settings) -> None:
    made = settings(path=write("a.parquet", [3, 1, 1, 3], split=["test", "train", "Validation", "train"]))
    assert inventory(made).counts["valid", "1"] == 1
    found = read(made, silent)
    assert (levels(found.train), levels(found.valid), levels(found.test)) == ([1, 3], [2], [0])
    named = settings(path=write("train.parquet", [3, 1], kind=["train", "train"]), split_column="kind")
    assert len(read(named, silent).train) == 2


@pytest.mark.parametrize(
    ("labels", "classes"),
    [([10, 9], ("9", "10")), (["x", "b"], ("b", "x")), ([True, False], ("False", "True")), ([1.0, 0.5], ("0.5", "1"))],
)
def test_labels_may_be_numbers_or_text(
    write: Callable, settings: Settings, labels: list, classes: tuple[str, ...]
) -> None:
    assert read(settings(path=write("a.parquet", labels)), silent).classes == classes


def test_categories_are_read_as_their_text(write: Callable, settings: Settings) -> None:
    labels: Any = pa.array(["x", "b", "x"]).dictionary_encode()
    assert read(settings(path=write("a.parquet", labels)), silent).classes == ("b", "x")


def test_classes_without_images_are_left_out_and_a_label_of_none_is_refused(
    write: Callable, settings: Settings
) -> None:
    found = read(settings(path=write("a.parquet", [2, 0, 2], names=True)), silent)
    assert found.classes == ("dog", "owl")
    assert found.train.labels.tolist() == [0, 1, 1]
    error = refused(settings(path=write("b.parquet", [0, 1, -1], names=True)))
    assert "the label -1 in the column 'label' is none of the 3 classes" in error.what


def test_the_column_of_images_is_found_by_its_kind_if_no_name_is_usual(
    settings: Settings, tmp_path: Path, png: Callable[[int], bytes]
) -> None:
    table = pa.table({"scan": [png(0), png(1)], "label": [0, 1], "note": ["a", "b"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    made = settings(path=tmp_path / "a.parquet")
    assert len(read(made, silent).train) == 2
    assert "the column 'note' holds string, not images" in refused(settings(path=made.path, image_column="note")).what


def test_what_is_wrong_with_a_table_is_told_with_its_file_and_row(
    write: Callable, settings: Settings, tmp_path: Path
) -> None:
    assert (
        "a.parquet, row 1: the column 'label' is empty" in refused(settings(path=write("a.parquet", [1, None, 2]))).what
    )
    assert (
        "b.parquet, row 1: the split 'x' is unknown"
        in refused(settings(path=write("b.parquet", [1, 2], split=["train", "x"]))).what
    )
    empty = pa.table({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())})
    parquet.write_table(empty, tmp_path / "c.parquet")
    assert "has no rows" in refused(settings(path=tmp_path / "c.parquet")).what
    assert "neither numbers nor text, but list" in refused(settings(path=write("d.parquet", [[1], [2]]))).what
    assert "there is no column 'lable'" in refused(settings(path=write("e.parquet", [1, 2]), label_column="lable")).what
    (tmp_path / "f.parquet").write_bytes(b"PAR1 nonsense PAR1")
    assert "f.parquet cannot be read as Parquet: " in refused(settings(path=tmp_path / "f.parquet")).what
    write("mixed/a.parquet", [1, 2])
    parquet.write_table(pa.table({"image": [b""]}), tmp_path / "set" / "mixed" / "b.parquet")
    assert (
        "b.parquet has no column 'label', which the first file has"
        in refused(settings(path=tmp_path / "set" / "mixed")).what
    )


def test_unreadable_images_are_named_by_file_and_row(settings: Settings, tmp_path: Path, png: Callable) -> None:
    images = [png(0), b"nonsense", None, png(1)[:-30]]
    parquet.write_table(pa.table({"image": images, "label": [1, 0, 1, 0]}), tmp_path / "a.parquet")
    with pytest.raises(InputError, match="3 files cannot be read as images") as caught:
        read(settings(path=tmp_path / "a.parquet"), silent)
    for row, why in ((1, "it is not an image of a known format"), (2, "it is empty"), (3, "")):
        assert f"a.parquet, row {row}: {why}" in caught.value.what


def test_where_there_are_no_bytes_the_path_is_read_beside_the_file(
    settings: Settings, tmp_path: Path, png: Callable
) -> None:
    (tmp_path / "one.png").write_bytes(png(7))
    images = [{"bytes": None, "path": "one.png"}, {"bytes": png(3), "path": None}]
    parquet.write_table(pa.table({"image": images, "label": [0, 1]}), tmp_path / "a.parquet")
    assert levels(read(settings(path=tmp_path / "a.parquet"), silent).train) == [7, 3]


def test_many_images_are_decoded_in_several_processes(
    write: Callable, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoded_cache, "ALONE", 10)
    monkeypatch.setattr(decoded_cache, "CHUNK", 2)
    monkeypatch.setattr(decoded_cache, "AHEAD", 1)
    found = read(settings(path=write("a.parquet", [n % 2 for n in range(25)])), silent)
    assert levels(found.train) == [*range(0, 25, 2), *range(1, 25, 2)]


def test_images_with_more_than_8_bits_share_the_range_of_the_training_images(
    settings: Settings, tmp_path: Path, png: Callable
) -> None:
    import io

    from PIL import Image

    def deep(value: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(np.full((8, 8), value, np.uint16)).save(file, "PNG")
        return file.getvalue()

    images = [deep(60_000), deep(1000), png(9), deep(3000)]
    table = pa.table({"image": images, "label": [0, 1, 0, 0], "split": ["test", "train", "train", "train"]})
    parquet.write_table(table, tmp_path / "a.parquet")
    found = read(settings(path=tmp_path / "a.parquet"), silent)
    assert found.value_range == (1000, 3000)
    assert (levels(found.train), levels(found.test)) == ([9, 255, 0], [255])


def test_a_changed_file_is_decoded_again(write: Callable, settings: Settings) -> None:
    made = settings(path=write("a.parquet", [0, 1]))
    before = read(made, silent).signature
    write("a.parquet", [1, 0])
    assert levels(read(made, silent).train) == [1, 0]
    assert signature(made) != before
    assert signature(settings(path=made.path, label_column="label")) != signature(made)


def test_without_pyarrow_it_says_what_to_install(
    write: Callable, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = settings(path=write("a.parquet", [0, 1]))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MachineError, match="data.source parquet needs pyarrow, which cannot") as caught:
        read(made, silent)
    assert "pip install 'onecycle-cli[parquet]'" in caught.value.fix


def test_a_folder_of_save_to_disk_is_another_source(settings: Settings) -> None:
    saved = Path(__file__).parents[1] / "golden" / "saved_by_datasets"
    assert refused(settings(path=saved)).fix == "Set data.source to datasets."
