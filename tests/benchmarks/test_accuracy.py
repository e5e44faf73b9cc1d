from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest


@pytest.mark.usefixtures("in_this_process")
def test_each_seed_is_a_row(start: Callable[..., str], tiny_digits: list[str], results: Path) -> None:
    recipe, *options = tiny_digits
    options += ["--epochs", "1"]
    printed = start("accuracy.py", recipe, "--seeds", "7,8", "--", *options)
    rows = pd.read_csv(results / "accuracy.csv")
    assert list(rows.seed) == [7, 8]
    assert set(rows.recipe) == {"digits"}
    assert set(rows.options) == {" ".join(options)}
    assert set(rows.epochs) == {1}
    assert rows.notna().all(axis=None)
    assert [line.split(" in ")[0] for line in printed.splitlines()] == [
        f"seed {row.seed}: {row.valid_accuracy:.4f}" for row in rows.itertuples()
    ]
