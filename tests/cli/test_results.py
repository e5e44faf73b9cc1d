"""What every command that makes a run has in common."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Command = Callable[..., Result]


@pytest.mark.parametrize(
    ("command", "nothing"),
    [("find-lr", "max_lr"), ("train", "max_lr"), ("tune", "max_lr"), ("find-batch-size", "batch_size")],
)
def test_a_run_that_fails_has_a_json_object_with_the_reason_too(
    onecycle: Command, tiny_digits: list[str], command: str, nothing: str
) -> None:
    words = [*tiny_digits, "--set", "data.source=image_folder", "--set", "data.path=nowhere", "--name", "failed"]
    result = onecycle(command, *words, "--json")
    found = json.loads(result.stdout)
    assert (result.exit_code, found["run"], found[nothing]) == (2, "runs/failed", None)
    assert "There is no folder" in found["reason"]
    assert "There is no folder" in result.stderr


def test_a_figure_that_fails_costs_a_note_and_is_not_named_as_a_file(
    onecycle: Command, tiny_digits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as where it is not installed
    for name in [name for name in sys.modules if name.startswith(("matplotlib.", "onecycle_cli.figures."))]:
        monkeypatch.delitem(sys.modules, name)
    result = onecycle("train", *tiny_digits, "--name", "plain")
    assert result.exit_code == 0
    assert "runs/plain/training.png could not be drawn: " in result.stderr
    assert "figure" not in result.stdout
    assert json.loads(Path("runs/plain/run.json").read_text())["notes"]
    for words in (("compare", "plain", "--plot", "a.png"), ("schedule", *tiny_digits, "--plot", "a.png")):
        asked = onecycle(*words)
        assert (asked.exit_code, "a.png could not be drawn" in asked.stderr) == (1, True)
        assert len(asked.stdout.splitlines()) > 3, "the table comes all the same"
        assert "a.png" not in asked.stdout


def test_at_a_terminal_the_curve_stands_above_the_result(at_terminal: Callable, tiny_digits: list[str]) -> None:
    code, screen = at_terminal("find-lr", *tiny_digits)
    curve, result = screen[screen.index("loss   ⠂ each batch") :].split("\n\n")
    assert (code, "max_lr" in curve.splitlines()[0]) == (0, True)
    assert result.startswith("max_lr ")
    code, screen = at_terminal("train", *tiny_digits, "--epochs", 1)
    curve, result = screen[screen.index("loss   ⠒⠒ train_loss") :].split("\n\n")
    assert (code, "o valid_loss" in curve.splitlines()[0]) == (0, True)
    assert result.startswith("status ")
    assert "⠒" not in at_terminal("train", *tiny_digits, "--epochs", 1, "--no-plot")[1]


def test_a_range_test_without_a_suggestion_has_its_curve_unless_it_is_not_wanted(
    at_terminal: Callable, tiny_digits: list[str]
) -> None:
    low = ("--set", "find_lr.start_lr=1e-12", "--set", "find_lr.end_lr=1e-8", "--set", "find_lr.num_steps=10")
    code, screen = at_terminal("find-lr", *tiny_digits, *low)
    assert (code, "⠒⠒ smoothed" in screen) == (4, True)
    for unwanted in ("--no-plot", "--quiet", "--json"):
        code, screen = at_terminal("find-lr", *tiny_digits, *low, unwanted)
        assert (code, "⠒" in screen) == (4, False)


def test_a_curve_that_fails_costs_a_note_at_a_terminal_and_is_not_thought_of_in_a_pipe(
    onecycle: Command, at_terminal: Callable, tiny_digits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotille", None)  # as where it is not installed
    monkeypatch.delitem(sys.modules, "onecycle_cli.figures.terminal", raising=False)
    piped = onecycle("find-lr", *tiny_digits, "--name", "piped")
    assert (piped.exit_code, "could not be drawn" in piped.stderr) == (0, False)
    code, screen = at_terminal("find-lr", *tiny_digits, "--name", "seen")
    assert code == 0
    assert "The curve could not be drawn: " in screen
    assert "confidence" in screen
