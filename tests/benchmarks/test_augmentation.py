from collections.abc import Callable
from pathlib import Path

import pandas as pd

FEW = ["--batch-size", 4, "--repeats", 1, "--batches", 1]


def test_every_augmentation_is_timed_beside_none_and_a_training_step(
    start: Callable[..., str], image_folder: Callable[..., Path], results: Path
) -> None:
    folder = image_folder("train/cat", "train/dog", "test/cat", "test/dog", size=(32, 32))
    start("augmentation.py", folder, *FEW)
    rows = pd.read_csv(results / "augmentation.csv")
    assert list(rows.augmentation[:2]) == ["none", "random_resized_crop"]
    assert len(rows) == 12
    assert (rows[["images_per_second", "step_milliseconds"]] > 0).all(axis=None)
    assert rows.added_share_of_a_step[0] == 0
    assert rows.date.nunique() == 1


def test_some_can_be_chosen(start: Callable[..., str], image_folder: Callable[..., Path], results: Path) -> None:
    folder = image_folder("train/cat", "train/dog", "test/cat", "test/dog", size=(32, 32))
    start("augmentation.py", folder, *FEW, "--augmentation", "mixup")
    assert list(pd.read_csv(results / "augmentation.csv").augmentation) == ["none", "mixup"]
