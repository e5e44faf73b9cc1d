from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

SPLITS = ("train/cat", "train/dog", "test/cat", "test/dog")


@pytest.mark.slow
@pytest.mark.usefixtures("in_this_process")
def test_the_contenders_take_turns_on_some_of_the_images(
    start: Callable[..., str], image_folder: Callable[..., Path], results: Path
) -> None:
    folder = image_folder(*SPLITS, images=20, size=(32, 32))
    contenders = ["onecycle, float32", "bare loop, float32"]
    few = ["--images", 8, "--batch-size", 4, "--repeats", 2]
    start("speed.py", folder, *few, *(f"--contender={name}" for name in contenders))
    rows = pd.read_csv(results / "speed.csv")
    assert list(rows.contender) == 2 * contenders
    assert list(rows.repeat) == [1, 1, 2, 2]
    assert (rows[["train", "validate", "peak_bytes"]] > 0).all(axis=None)
    assert list(rows.range_test > 0) == [True, False, True, False]
    assert rows.date.nunique() == 1


def test_a_folder_without_images_is_refused(start: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"needs train/<class>/ and test/<class>/\.$"):
        start("speed.py", tmp_path)
