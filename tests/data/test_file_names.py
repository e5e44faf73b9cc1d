"""The names of the files of images."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from onecycle_cli.data.file_names import with_file_names
from onecycle_cli.data.images import Split
from onecycle_cli.data.open_data import open_data, read_source
from onecycle_cli.data.splits import hold_out
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe


def colour(number: int) -> tuple[int, int, int]:
    """A colour that only the image of this number has."""
    return number, 255 - number, 7 * number % 256


@pytest.fixture
def coloured(tmp_path: Path) -> Callable[..., Path]:
    """Makes files whose colour says which one each is: `coloured("train/a/1.png", ...)`."""

    def make(*names: str) -> Path:
        for number, name in enumerate(names):
            path = tmp_path / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), colour(number)).save(path, "PNG")
        return tmp_path / "photos"

    return make


def settings_of(tiny: Callable[..., Recipe], source: str, path: Path, fraction: float) -> Any:
    fields = {"source": source, "path": str(path), "channels": 3, "image_size": 8, "valid_fraction": fraction}
    return tiny({f"data.{name}": value for name, value in fields.items()}).data


def all_named(split: Split, folder: Path) -> list[str]:
    """Returns the names of a split's files, each of which is checked to be the image in its place."""
    assert split.files is not None
    assert len(split.files) == len(split)
    for image, name in zip(split.images, split.files, strict=True):
        with Image.open(folder / name) as opened:
            assert (np.asarray(opened) == image).all()
    return list(split.files)


FLAT = [f"{name}/{number}.png" for number in range(20) for name in ("shoes", "b", "pants")]
SPLITS = [f"{split}/{name}/{number}.png" for number in range(9) for split in ("val", "test", "train") for name in "ab"]


@pytest.mark.parametrize("seed", range(3))
def test_each_held_out_image_has_the_name_of_its_file(coloured: Callable, tiny: Callable, seed: int) -> None:
    folder = coloured(*FLAT)
    settings = settings_of(tiny, "image_folder", folder, 0.3)
    source = with_file_names(read_source(settings, silent), settings, silent)
    data = open_data(settings, seed=seed, report=silent, source=source)
    assert sorted(all_named(data.train, folder) + all_named(data.valid, folder)) == sorted(FLAT)


def test_each_split_of_a_folder_has_the_names_of_its_files(coloured: Callable, tiny: Callable) -> None:
    folder = coloured(*SPLITS)
    settings = settings_of(tiny, "image_folder", folder, 0.0)
    source = with_file_names(read_source(settings, silent), settings, silent)
    data = open_data(settings, seed=1, report=silent, source=source)
    for split, name in (("train", "train"), ("valid", "val"), ("test", "test")):
        assert sorted(all_named(data.splits[split], folder)) == sorted(one for one in SPLITS if one.startswith(name))


def test_a_csv_file_names_images_below_its_folder_and_elsewhere(coloured: Callable, tiny: Callable) -> None:
    folder = coloured(*[f"{place}/{number}" for number in range(9) for place in ("in/x", "out")])
    rows = [f"x/{number},{'ab'[number % 2]},train" for number in range(9)]
    rows += [f"../out/{number},{'ba'[number % 2]},test" for number in range(9)]
    table = folder / "in" / "table.csv"
    table.write_text("\n".join(["path,label,split", *rows[::-1]]))
    settings = settings_of(tiny, "csv", table, 0.0)
    source = with_file_names(read_source(settings, silent), settings, silent)
    assert source.test is not None
    assert sorted(all_named(source.train, table.parent)) == [f"x/{number}" for number in range(9)]
    assert sorted(all_named(source.test, table.parent)) == [f"{folder}/out/{number}" for number in range(9)]


def test_a_path_with_two_dots_names_files_below_it(
    coloured: Callable, tiny: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = coloured("x/0.png", "y/1.png", "z/2.png", "x/3.png")
    (folder / "z" / "t.csv").write_text("path,label\n../x/0.png,a\n../y/1.png,b\n2.png,a\n../x/3.png,b\n")
    monkeypatch.chdir(folder / "y")
    settings = settings_of(tiny, "csv", Path("../z/t.csv"), 0.5)
    source = with_file_names(read_source(settings, silent), settings, silent)
    names = all_named(source.train, folder / "z")
    winding = settings_of(tiny, "csv", Path("../y/../z/t.csv"), 0.5)
    assert names == all_named(with_file_names(read_source(winding, silent), winding, silent).train, folder / "z")
    assert sorted(names) == sorted(["2.png", f"{folder}/x/0.png", f"{folder}/y/1.png", f"{folder}/x/3.png"])
    monkeypatch.chdir(folder / "z")
    here = settings_of(tiny, "csv", Path("t.csv"), 0.5)
    assert sorted(all_named(with_file_names(read_source(here, silent), here, silent).train, Path())) == sorted(names)
    below = settings_of(tiny, "image_folder", Path("../x/../../photos"), 0.5)
    (folder / "z" / "t.csv").unlink()
    found = with_file_names(read_source(below, silent), below, silent)
    assert sorted(all_named(found.train, folder)) == ["x/0.png", "x/3.png", "y/1.png", "z/2.png"]


@pytest.mark.skipif(os.name != "posix", reason="file names are text there")
def test_names_that_are_not_utf_8_or_have_control_characters_lead_to_their_files(
    coloured: Callable, tiny: Callable
) -> None:
    names = ["a/\udcff.png", "a/x\n\x1b[31m.png", "b/\\xff.png", 'b/ü,".png']
    folder = coloured(*names)
    settings = settings_of(tiny, "image_folder", folder, 0.5)
    assert sorted(all_named(with_file_names(read_source(settings, silent), settings, silent).train, folder)) == sorted(
        names
    )


def test_files_that_changed_since_they_were_read_are_not_named(coloured: Callable, tiny: Callable) -> None:
    folder = coloured(*FLAT)
    settings = settings_of(tiny, "image_folder", folder, 0.3)
    source = read_source(settings, silent)
    one, other = folder / "b" / "1.png", folder / "b" / "2.png"
    one.rename(folder / "kept")
    other.rename(one)
    (folder / "kept").rename(other)
    told: list[object] = []
    assert with_file_names(source, settings, told.append).train.files is None
    assert "Files were changed while they were read, so images have no file names." in told


def test_a_training_and_sources_without_a_file_an_image_have_no_names(coloured: Callable, tiny: Callable) -> None:
    digits = tiny().data
    assert with_file_names(read_source(digits, silent), digits, silent).train.files is None
    settings = settings_of(tiny, "image_folder", coloured(*FLAT), 0.3)
    assert open_data(settings, seed=1, report=silent).valid.files is None


@given(sizes=st.lists(st.integers(4, 30), min_size=2, max_size=4), seed=st.integers(0, 2**32 - 1))
def test_names_stay_with_their_images_in_every_part(sizes: list[int], seed: int) -> None:
    labels = np.repeat(np.arange(len(sizes)), sizes)
    images = np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1)
    whole = Split(images, labels, files=np.array([f"{number}.png" for number in range(len(labels))], dtype=object))
    for part in hold_out(whole, 0.5, seed):
        assert part.files is not None
        assert part.files.tolist() == [f"{number}.png" for number in part.images.ravel()]
