from collections.abc import Callable
from pathlib import Path

import pandas as pd


def test_both_programs_are_timed(start: Callable[..., str], results: Path) -> None:
    start("start_up.py", "--repeats", 1)
    (row,) = pd.read_csv(results / "start_up.csv").to_dict("records")
    assert row["repeats"] == 1
    assert row["onecycle_seconds"] > 0
    assert row["two_commands_seconds"] > 0
