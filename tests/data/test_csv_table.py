"""Images listed in a CSV file, and all that may be wrong with one."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onecycle_cli.data.csv_table import inventory, list_table, read, signature
from onecycle_cli.data.decoding import decode
from onecycle_cli.errors import InputError
from onecycle_cli.progress import silent

Make = Callable[..., Path]
Settings = Callable[..., Any]


@pytest.fixture
def table(image_folder: Make, settings: Settings) -> Callable[..., Any]:
    """Writes a CSV file beside the folders a and b, with four images each, and gives its settings."""
    folder = image_folder("a", "b")

    def made(text: str | bytes, **values: Any) -> Any:
        content = text.encode() if isinstance(text, str) else text
        (folder / "table.csv").write_bytes(content)
        return settings(path=folder / "table.csv", **values)

    return made


def refused(made: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        list_table(made)
    return caught.value


PLAIN = "path,label\na/0.png,dog\nb/0.png,cat\na/1.png,dog\n"


def test_the_images_of_each_row_are_read_class_by_class_and_then_by_path(table: Callable) -> None:
    made = table("path,label\nb/1.png,dog\na/1.png,dog\nb/0.png,cat\na/0.png,cat\n")
    found = read(made, silent)
    folder = Path(made.path).parent
    assert found.classes == ("cat", "dog")
    assert found.train.labels.tolist() == [0, 0, 1, 1]
    expected = [decode(folder / name, 8, 3) for name in ("a/0.png", "b/0.png", "a/1.png", "b/1.png")]
    assert np.array_equal(found.train.images, expected)
    assert found.valid is found.test is None
    assert (folder / "table.csv.onecycle-cache" / "8px-3ch").is_dir()


def test_a_column_of_splits_is_found_and_any_case_and_usual_name_of_a_split_is_known(table: Callable) -> None:
    made = table("Split,File,Class\nTrain,a/0.png,1\nval,a/1.png,10\ntesting,a/2.png,1\ntrain,a/3.png,10\n")
    assert inventory(made).counts == {
        ("train", "1"): 1,
        ("train", "10"): 1,
        ("valid", "1"): 0,
        ("valid", "10"): 1,
        ("test", "1"): 1,
        ("test", "10"): 0,
    }


def test_columns_are_those_that_the_recipe_names(table: Callable) -> None:
    made = table(
        "path,where,what,kind\nx,a/0.png,1,train\nx,b/0.png,2,train\nx,b/1.png,2,test\n",
        path_column="where",
        label_column="what",
        split_column="kind",
    )
    assert {split: len(files) for split, files in list_table(made).splits.items()} == {"train": 2, "test": 1}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_any_usual_form_of_the_file_is_read(table: Callable, delimiter: str, start: str, end: str) -> None:
    text = start + PLAIN.replace(",", delimiter).replace("\n", end) + end
    assert list_table(table(text)).classes == ("cat", "dog")


def test_an_absolute_path_and_a_quoted_cell_are_taken(table: Callable, tmp_path: Path) -> None:
    made = table(f'path,label\n"{tmp_path}/photos/a/0.png","dog, big"\nb/../b/0.png,cat\n')
    assert list_table(made).files() == [
        (tmp_path / "photos/b/0.png", 0),
        (tmp_path / "photos/a/0.png", 1),
    ]
    assert list_table(made).classes == ("cat", "dog, big")


@pytest.mark.parametrize(
    ("text", "what", "fix"),
    [
        ("", "table.csv, line 1: is empty", "such as path,label"),
        ("path,label\n", "table.csv has no rows below its header", "Add a row"),
        ("path,label\n\n ,\n", "table.csv has no rows", ""),
        ("path,labl\na/0.png,1\n", "line 1: no column is named label,", "data.label_column to one of"),
        ("path,label\na/0.png,dog\nb/0.png\n", "line 3: has 1 cells, but the columns path, label need 2", ""),
        ("path,label\na/0.png,dog\n,cat\n", "line 3: the cell in the column 'path' is empty", ""),
        ("path,label\na/0.png, \n", "line 2: the cell in the column 'label' is empty", ""),
        ("path,label,split\na/0.png,1,trian\n", "line 2: the split 'trian' is unknown", "train, training, valid"),
        ("path,label,split\na/0.png,1,\n", "line 2: the split '' is unknown", ""),
        ("path,label\na/0.png,1\n./a/0.png,2\n", "two rows:\n  lines 2 and 3: ", "Keep one"),
        ("path,label\na/0.png,1\nb/0.png,1\n", "of the class '1' only", "Check the labels"),
        ('path,label\na/0.png,"1\n', "line 2: not readable as CSV: unexpected end of data", ""),
        (b"path,label\na/0.png,\xff\n", "line 2: not text in UTF-8", "Save the file as UTF-8"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(table: Callable, text: str | bytes, what: str, fix: str) -> None:
    error = refused(table(text))
    assert what in error.what
    assert fix in error.fix


def test_of_many_missing_files_the_first_twenty_are_named(table: Callable) -> None:
    rows = "".join(f"gone/{n}.png,dog\n" for n in range(33))
    lines = refused(table(PLAIN + rows)).what.splitlines()
    assert lines[0].endswith("table.csv: 33 files are missing:")
    assert lines[1].endswith("line 5: " + str(Path("photos/gone/0.png").absolute()))
    assert len(lines) == 22
    assert lines[-1] == "  and 13 more"
    assert "one file is missing" in refused(table(PLAIN + "gone.png,dog\n")).what


def test_a_file_that_is_not_there_or_is_a_folder_is_told(settings: Settings, tmp_path: Path) -> None:
    assert "There is no CSV file at" in refused(settings(path=tmp_path / "x.csv")).what
    assert "is a folder, not a CSV file" in refused(settings(path=tmp_path)).what


def test_the_signature_changes_with_a_label_and_with_an_image(table: Callable) -> None:
    made = table(PLAIN)
    before = signature(made)
    assert read(made, silent).signature == before
    assert signature(table(PLAIN + "b/1.png,cat\n")) != before
    assert signature(table(PLAIN)) == before
    image = Path(made.path).parent / "a" / "0.png"
    image.write_bytes((image.parent / "2.png").read_bytes())
    assert signature(made) != before
