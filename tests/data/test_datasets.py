"""Folders that Hugging Face's datasets saved: golden/record_datasets.py made the one that is read here."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onecycle_cli.data.datasets import inventory, read, signature
from onecycle_cli.errors import InputError, MachineError
from onecycle_cli.progress import silent

Settings = Callable[..., Any]


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """A copy of the recorded folder, whose images have the grey level 10 for each row and 100 for each class."""
    shutil.copytree(Path(__file__).parents[1] / "golden" / "saved_by_datasets", tmp_path / "saved")
    return tmp_path / "saved"


def refused(made: Any) -> InputError:
    with pytest.raises(InputError) as caught:
        inventory(made)
    return caught.value


def test_splits_and_class_names_are_those_that_were_saved(saved: Path, settings: Settings) -> None:
    found = read(settings(path=saved), silent)
    assert found.classes == ("dog", "cat")
    assert found.train.labels.tolist() == [0, 0, 1, 1, 1]
    assert found.train.images[:, 0, 0, 0].tolist() == [0, 30, 110, 120, 140]
    assert found.test.images[:, 0, 0, 0].tolist() == [10, 100]
    assert found.signature == signature(settings(path=saved))
    (skipped,) = inventory(settings(path=saved)).skipped
    assert str(skipped) == f"{saved / 'unsupervised'}: is not a split of a known name, and is not used"


def test_a_single_data_set_is_for_training(saved: Path, settings: Settings) -> None:
    found = read(settings(path=saved / "train"), silent)
    assert len(found.train) == 5
    assert found.valid is found.test is None


def test_what_is_no_such_folder_is_refused(saved: Path, settings: Settings, tmp_path: Path) -> None:
    assert "There is no folder" in refused(settings(path=tmp_path / "x")).what
    assert "set data.source to parquet" in refused(settings(path=tmp_path)).fix
    (saved / "train" / "data-00000-of-00001.arrow").write_bytes(b"nonsense")
    assert "cannot be read as an Arrow stream" in refused(settings(path=saved)).what
    (saved / "train" / "data-00000-of-00001.arrow").unlink()
    assert "data-00000-of-00001.arrow cannot be read" in refused(settings(path=saved)).what
    (saved / "train" / "state.json").write_text("{}")
    assert "state.json is not as save_to_disk writes it: KeyError" in refused(settings(path=saved)).what
    (saved / "dataset_dict.json").write_text(json.dumps({"splits": ["other"]}))
    assert "has no split of a known name" in refused(settings(path=saved)).what


def test_without_pyarrow_it_says_what_to_install(
    saved: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MachineError, match="data.source datasets needs pyarrow"):
        read(settings(path=saved), silent)
