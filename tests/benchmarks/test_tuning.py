from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

pytestmark = pytest.mark.usefixtures("in_this_process")


@pytest.fixture
def words(image_folder: Callable[..., Path]) -> list[str]:
    """The recipe, and what makes it tiny."""
    folder = image_folder(*(f"{split}/{name}" for split in ("train", "test") for name in ("cat", "dog")), images=40)
    values = {"data.path": folder, "data.image_size": 8, "data.source": "image_folder", "model.width": 0.25}
    values |= {"runtime.device": "cpu", "runtime.precision": "float32", "sweep_wd.weight_decays": "[1e-3]"}
    values |= {"find_lr.num_steps": 40, "find_lr.start_lr": 1e-3}
    options = [word for field, value in values.items() for word in ("--set", f"{field}={value}")]
    return ["cifar10-resnet8", "--seeds", "0", "--", *options, "--epochs", "2", "--batch-size", "32"]


def test_the_untuned_start_is_judged_by_its_test_images(
    start: Callable[..., str], words: list[str], results: Path
) -> None:
    start("tuning.py", "--way", "start", *words)
    (row,) = pd.read_csv(results / "tuning.csv").to_dict("records")
    assert (row["way"], row["trials"], row["batch_size"]) == ("start", 1, 32)
    assert all(pd.notna(row[name]) for name in ("max_lr", "weight_decay", "test_accuracy", "seconds"))


@pytest.mark.slow
def test_what_tune_chooses_is_judged_by_its_test_images(
    start: Callable[..., str], words: list[str], results: Path
) -> None:
    start("tuning.py", "--way", "tune", "--budget", 3600, *words)
    (row,) = pd.read_csv(results / "tuning.csv").to_dict("records")
    assert row["way"] == "tune"
    assert row["trials"] > 3
    assert all(pd.notna(row[name]) for name in ("max_lr", "weight_decay", "test_accuracy", "seconds"))


def test_random_search_is_judged_by_its_best_training(
    start: Callable[..., str], words: list[str], results: Path
) -> None:
    pytest.importorskip("optuna", reason="needs the extra benchmark")
    start("tuning.py", "--way", "random", "--budget", 0.1, *words)
    (row,) = pd.read_csv(results / "tuning.csv").to_dict("records")
    assert row["way"] == "random"
    assert row["trials"] >= 1
    assert row["batch_size"] in (8, 16, 32)


def test_data_without_test_images_are_refused(start: Callable[..., str], tiny_digits: list[str]) -> None:
    recipe, *options = tiny_digits
    with pytest.raises(SystemExit, match="digits has no test images"):
        start("tuning.py", recipe, "--way", "start", "--seeds", "0", "--", *options)
