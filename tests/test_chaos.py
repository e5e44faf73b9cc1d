"""Short forms of `make chaos`."""

import runpy
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

CHAOS = Path(__file__).parent / "chaos.py"


@pytest.mark.slow
def test_a_run_that_is_killed_while_a_checkpoint_is_written_ends_as_one_that_was_not(
    onecycle: Callable[..., Result],
) -> None:
    chaos = runpy.run_path(str(CHAOS))
    assert onecycle("train", *chaos["train_words"]("sgd", "whole")).exit_code == 0
    words = ["train", *chaos["train_words"]("sgd", "killed"), "--quiet"]
    running = subprocess.Popen([sys.executable, "-m", "onecycle_cli", *words], stderr=subprocess.PIPE)
    whole, path = Path("runs/whole"), Path("runs/killed")
    steps = path / "steps.csv"
    while not (chaos["lines_of"](steps) > 20 and any(path.glob(".checkpoint-*"))):
        assert running.poll() is None
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert running.returncode == -signal.SIGKILL
    assert onecycle("train", "--resume", path).exit_code == 0
    for file in chaos["COMPARED"]:
        assert chaos["without_times"](path / file) == chaos["without_times"](whole / file), file


@pytest.mark.slow
def test_runs_that_are_killed_and_go_on_end_as_one_that_was_not() -> None:
    chaos = subprocess.run([sys.executable, CHAOS, "2"], capture_output=True, text=True, check=False)
    assert chaos.returncode == 0, chaos.stderr
    assert chaos.stdout.startswith("2 runs were killed ")
