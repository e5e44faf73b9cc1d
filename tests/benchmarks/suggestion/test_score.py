import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd

COMMITTED = Path(__file__).parents[3] / "benchmarks" / "results" / "suggestion"


def test_the_committed_scores_follow_from_the_committed_curves_and_runs(
    start: Callable[..., str], results: Path
) -> None:
    again = results / "suggestion"
    again.mkdir(parents=True)
    for name in ("curves", "truth", "short", "decay", "decay_curves"):
        shutil.copy(COMMITTED / f"{name}.csv", again)
    printed = start("suggestion/score.py")
    assert "onecycle `basin`, `--verify`" in printed
    for name in ("scores", "decay_scores"):
        made, committed = (pd.read_csv(folder / f"{name}.csv") for folder in (again, COMMITTED))
        pd.testing.assert_frame_equal(made, committed, rtol=1e-4)
