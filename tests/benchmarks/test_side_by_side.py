from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest


@pytest.mark.parametrize("counts", [[1], pytest.param([1, 2], marks=pytest.mark.slow)])
def test_every_count_of_processes_is_a_row(
    start: Callable[..., str], tiny_digits: list[str], results: Path, counts: list[int]
) -> None:
    options = [*tiny_digits, "--epochs", "1", "--set", "schedule.pct_start=0.4"]
    start("side_by_side.py", "--counts", ",".join(map(str, counts)), "--repeats", "1", "--", *options)
    rows = pd.read_csv(results / "side_by_side.csv")
    assert rows.processes.tolist() == counts
    assert rows.over_in_turn[0] == 1
    assert (rows.seconds > 0).all()
    assert set(rows.package) == {"now"}
