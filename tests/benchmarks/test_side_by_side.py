from collections.abc import Callable
from pathlib import Path

import pandas as pd


def test_every_count_of_processes_is_a_row(start: Callable[..., str], tiny_digits: list[str], results: Path) -> None:
    options = [*tiny_digits, "--epochs", "1", "--set", "schedule.pct_start=0.4"]
    start("side_by_side.py", "--counts", "1,2", "--repeats", "1", "--", *options)
    rows = pd.read_csv(results / "side_by_side.csv")
    assert rows.processes.tolist() == [1, 2]
    assert rows.over_in_turn[0] == 1
    assert (rows.seconds > 0).all()
    assert set(rows.package) == {"now"}
