"""`runs watch`: the table of what is running."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from onecycle_cli.cli.runs_watch import COLUMNS, Lines, row, short_time
from onecycle_cli.experiments.run_progress import RunProgress, WatchedRun
from onecycle_cli.recipe import to_yaml
from onecycle_cli.run_dir.files import STEPS_COLUMNS
from onecycle_cli.run_dir.run import RunDir

Command = Callable[..., Result]
HALF = RunProgress("training", 30, 60, 3, 5, 1.71, 0.05, 0.75, None, 0.5)
RUNNING = WatchedRun("a", "train", "running", HALF, 15.0, 2.0)
DONE = WatchedRun("a", "train", "finished", HALF, None, None)


@pytest.fixture
def running(tiny: Callable) -> RunDir:
    """A training that this process runs, at step 5 of 24."""
    facts = {"images": {"train": 1437, "valid": 360, "test": None}}
    run = RunDir.create(
        Path("runs"), command="train", recipe_name="digits", recipe_yaml=to_yaml(tiny()), facts=facts, name="mine"
    )
    with run.table("steps.csv", STEPS_COLUMNS) as table:
        table.append([{"step": 4, "epoch": 1, "lr": 0.05, "momentum": 0.9, "train_loss": 1.5}])
    return run


def test_a_row_has_what_a_person_looks_for() -> None:
    assert row(RUNNING) == ["a", "30/60", "3/5", "1.71", "0.05", "0.7500", "15s", "2s"]
    assert row(DONE)[-2:] == ["finished", ""]
    test = WatchedRun("b", "find-lr", "running", RunProgress("range test", 10, 40, loss=2.0, lr=0.01), None, 1.0)
    assert row(test) == ["b", "10/40", "range test", "2", "0.01", "", "", "1s"]
    assert row(WatchedRun("c", "tune", "running", RunProgress("cells", 2), None, None))[1:3] == ["2", "cells"]
    assert row(WatchedRun("d", "train", "running", RunProgress(), None, None))[1:3] == ["", "preparing"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, ""), (0.4, "0s"), (59.6, "1m00s"), (200, "3m20s"), (7500, "2h05m"), (300_000, "3d11h")],
)
def test_times_are_short(seconds: float | None, text: str) -> None:
    assert short_time(seconds) == text


def test_a_line_comes_at_first_now_and_then_and_at_the_end() -> None:
    lines = Lines()
    told = "30 of 60 training steps, epoch 3 of 5, loss 1.71, lr 0.05, valid_accuracy 0.7500"
    assert lines.now([RUNNING], 100.0) == [f"a: {told}, 15 s left"]
    assert lines.now([RUNNING], 109.9) == []
    assert lines.now([RUNNING], 110.0) == [f"a: {told}, 15 s left"]
    assert lines.now([DONE], 111.0) == [f"a: finished, {told}"]
    assert lines.now([DONE], 500.0) == []
    assert lines.now([WatchedRun("b\x1b", "train", "running", RunProgress(), None, None)], 0.0) == ["b\\x1b: preparing"]


def test_once_prints_a_table_and_json_an_object_for_each_run(onecycle: Command, running: RunDir) -> None:
    header, line = onecycle("runs", "watch", "--once").stdout.splitlines()
    assert tuple(header.split()) == COLUMNS
    assert line.split()[:5] == ["mine", "5/24", "1/2", "1.5", "0.05"]
    (found,) = json.loads(onecycle("runs", "watch", "--json").stdout)
    assert (found["run"], found["status"], found["progress"]["total"]) == ("mine", "running", 24)
    running.finish("finished", {})
    assert onecycle("runs", "watch", "--once").stdout.split() == list(COLUMNS)
    assert json.loads(onecycle("runs", "watch", "--json").stdout) == []


def looks(monkeypatch: pytest.MonkeyPatch, *between: Callable[[], object]) -> None:
    """Does something after each look of a watch, and then presses Ctrl-C."""
    left = iter(between)

    def sleep(_: float) -> None:
        if (does := next(left, None)) is None:
            raise KeyboardInterrupt
        does()

    monkeypatch.setattr(time, "sleep", sleep)


def test_in_a_pipe_each_run_has_its_lines_until_ctrl_c(
    onecycle: Command, running: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks(monkeypatch, lambda: None, lambda: running.finish("finished", {}))
    result = onecycle("runs", "watch")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "mine: 5 of 24 training steps, epoch 1 of 2, loss 1.5, lr 0.05",
        "mine: finished, 5 of 24 training steps, epoch 1 of 2, loss 1.5, lr 0.05",
    ]


def test_at_a_terminal_the_table_stays_with_the_status_at_its_end(
    at_terminal: Callable, running: RunDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks(monkeypatch, lambda: running.finish("diverged", {}))
    code, screen = at_terminal("runs", "watch")
    assert code == 0
    last = screen.rstrip().splitlines()[-1]
    assert last.split() == ["mine", "5/24", "1/2", "1.5", "0.05", "diverged"]
    assert "Traceback" not in screen


def test_where_nothing_runs_that_is_told(
    onecycle: Command, at_terminal: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks(monkeypatch)
    assert onecycle("runs", "watch").stderr == "Nothing is running in runs.\n"
    looks(monkeypatch)
    assert "Nothing is running in runs." in at_terminal("runs", "watch")[1]


def test_a_dumb_terminal_gets_lines(at_terminal: Callable, running: RunDir, monkeypatch: pytest.MonkeyPatch) -> None:
    looks(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    code, screen = at_terminal("runs", "watch")
    assert (code, screen) == (0, "mine: 5 of 24 training steps, epoch 1 of 2, loss 1.5, lr 0.05\n")
    assert running.status == "running"
