"""A short form of `make chaos`."""

import subprocess
import sys
from pathlib import Path


def test_runs_that_are_killed_and_go_on_end_as_one_that_was_not() -> None:
    chaos = subprocess.run(
        [sys.executable, Path(__file__).parent / "chaos.py", "2"], capture_output=True, text=True, check=False
    )
    assert chaos.returncode == 0, chaos.stderr
    assert chaos.stdout.startswith("2 runs were killed ")
