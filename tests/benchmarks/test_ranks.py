"""The benchmark of ranks, on tiny digits."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest


@pytest.mark.slow
def test_every_question_has_its_answers(start: Callable[..., str], tiny_digits: list[str], results: Path) -> None:
    start("ranks.py", "--lrs", "0.001", "--seeds", "1", "--", *tiny_digits)
    rows = pd.read_csv(results / "ranks.csv")
    assert rows.measured.value_counts().to_dict() == {"loss trace": 2, "valid accuracy": 4, "images a second": 4}
    traces = rows[rows.measured == "loss trace"].set_index("way").value
    assert traces["2 ranks, synchronized batch norm"] < 1e-4
    assert (rows[rows.measured == "images a second"].value > 0).all()
