from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest


@pytest.mark.usefixtures("in_this_process")
def test_every_way_lists_the_runs(start: Callable[..., str], results: Path) -> None:
    start("runs_list.py", "--runs", 3, "--repeats", 1)
    table = pd.read_csv(results / "runs_list.csv")
    assert list(table.way) == ["table", "sorted", "filtered", "csv", "json", "table", "csv"]
    assert list(table.summaries) == [True] * 5 + [False] * 2
    assert set(table.runs) == {3}
    assert (table.seconds > 0).all()
