from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest


@pytest.mark.usefixtures("in_this_process")
def test_images_on_disk_are_trained_on_beside_resident_ones(
    start: Callable[..., str], results: Path, tmp_path: Path
) -> None:
    words = ("--images", 90, "--image-size", 8, "--batch-size", 8, "--repeats", 2, "--steps", 3, "--folder", tmp_path)
    printed = start("data_sources.py", *words, "--precision", "float32")
    rows = pd.read_csv(results / "data_sources.csv")
    assert list(rows.way) == 2 * ["resident", "mapped", "mapped, pages dropped", "dropped, read ahead"]
    assert (rows[["images_per_second", "read_images_per_second"]] > 0).all(axis=None)
    assert printed.splitlines()[0].endswith("1.000 of resident")
