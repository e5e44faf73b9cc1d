from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest


@pytest.mark.slow
def test_both_ways_are_timed(start: Callable[..., str], results: Path, tiny_digits: list[str]) -> None:
    pytest.importorskip("ray")
    options = [*tiny_digits[1:], "--epochs", "2"]
    start("ray_overhead.py", "--cells", "2", "--repeats", "1", "--", *options)
    rows = pd.read_csv(results / "ray_overhead.csv")
    assert rows.way.tolist() == ["jobs", "ray"]
    assert (rows.seconds > rows.start_seconds).all()
    assert (rows.over_ideal > rows.over_ideal_without_start).all()
