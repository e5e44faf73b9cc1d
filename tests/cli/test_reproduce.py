"""`reproduce` as a person runs it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from onecycle_cli.experiments import batch_size

Command = Callable[..., Result]


@pytest.fixture(autouse=True)
def _quick_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "TIMED_SECONDS", 0.0)


@pytest.fixture
def words(image_folder: Callable[..., Path]) -> list[str]:
    """The words that make the experiments tiny."""
    path = image_folder("train/a", "train/b", "test/a", "test/b", images=24, size=(32, 32))
    values = {"data.source": "image_folder", "data.path": path, "data.batch_size": 16}
    values |= {"model.architecture": "cnn", "model.width": 0.25, "runtime.precision": "float32"}
    return [word for field, value in values.items() for word in ("--set", f"{field}={value}")]


def test_reproduce_prints_the_runs_beside_the_published_ones_and_goes_on_with_further_ones(
    onecycle: Command, words: list[str]
) -> None:
    result = onecycle("reproduce", "e2", "E1", *words, "--seeds", 1, "--scale", 0.03)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["run", "epochs", "n", "accuracy", "blog", "paper", "points", "verdict"]
    assert [line.split()[0] for line in lines[1:3]] == ["E1", "E2"]
    assert "93.53" in lines[1]
    assert "not compared" in lines[1]
    assert "+0.95 ± 0.36" in result.stdout
    assert "2 runs, 6 epochs in all: about " in result.stderr
    again = onecycle("reproduce", "E1", *words, "--seeds", 1, "--scale", 0.03)
    assert again.stdout == result.stdout
    assert "1 of 1 cells were run before." in again.stderr
    listed = onecycle("runs").stdout.splitlines()[1].split()
    assert listed[1:3] == ["finished", "finished"]
    compared = onecycle("compare", listed[0])
    assert compared.exit_code == 0
    assert "train" in compared.stdout or "valid_accuracy" in compared.stdout


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        (["E5"], "There is no experiment 'E5'."),
        (["E1", "--set", "schedule.max_lr=1"], "schedule.max_lr is what the published runs differ in"),
        (["E1", "--set", "seed=3"], "seed is what the published runs differ in"),
        (["E1", "--scale", "2"], "Invalid value for '--scale'"),
    ],
)
def test_what_cannot_be_reproduced_is_told_before_anything_is_made(
    onecycle: Command, arguments: list[str], what: str
) -> None:
    result = onecycle("reproduce", *arguments)
    assert result.exit_code == 2
    assert what in result.stderr
    assert not Path("runs").exists()


def test_runs_that_all_fail_exit_with_3_and_json_says_so(onecycle: Command, words: list[str]) -> None:
    failing = ["--set", "data.std=[1e-37,1e-37,1e-37]"]  # pixels beyond float32
    result = onecycle("reproduce", "E3", *words, *failing, "--seeds", 1, "--scale", 0.03, "--json")
    assert result.exit_code == 3
    found = json.loads(result.stdout)
    assert found["experiments"][0]["verdict"] == "no result"
    assert found["experiments"][0]["not_finished"] == 1
