from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest


@pytest.mark.usefixtures("in_this_process")
def test_each_cell_of_a_sweep_is_a_row(
    start: Callable[..., str], image_folder: Callable[..., Path], results: Path
) -> None:
    folder = image_folder(*(f"{split}/{name}" for split in ("train", "test") for name in ("cat", "dog")), images=8)
    tiny = {"path": folder, "image_size": 8, "batch_size": 8}
    words = [f"--set=data.{field}={value}" for field, value in tiny.items()]
    words += ["--set=model.architecture=resnet8", "--set=model.width=0.25", "--set=runtime.precision=float32"]
    printed = start("sweeps.py", "tail", "--", *words, "--epochs", 2, "--seeds", 1, "--max-lr", 0.1, "--device", "cpu")
    assert "pct_start" in printed
    rows = pd.read_csv(results / "sweeps.csv")
    assert list(rows["values"]) == ["pct_start 0.4316", "pct_start 0.25"]
    assert set(rows.status) <= {"finished", "collapsed"}
    assert rows.notna().all(axis=None)
