"""`diagnose` on real runs: in words, as bare names, as JSON; and the line that `train` ends with."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Command = Callable[..., Result]


@pytest.fixture
def two_runs(once: Callable, onecycle: Command, tiny_digits: list[str]) -> None:
    def make() -> None:
        onecycle("train", *tiny_digits, "--name", "short")
        wild = ("--max-lr", 1000, "--set", "schedule.div_factor=1", "--weight-decay", 1)
        onecycle("train", *tiny_digits, *wild, "--name", "wild")

    once("a short training and one that diverges", make)


@pytest.mark.usefixtures("two_runs")
def test_a_statement_has_its_place_its_numbers_and_an_advice(onecycle: Command) -> None:
    result = onecycle("diagnose", "short")
    assert result.exit_code == 0
    run, found, advice, more = (line.split(maxsplit=1) for line in result.stdout.splitlines())
    assert run == ["run", "runs/short: finished, 2 of 2 epochs"]
    assert found[0] == "underfitting"
    last = Path("runs/short/epochs.csv").read_text().splitlines()[-1].split(",")
    train_loss, valid_loss = float(last[4]), float(last[6])
    assert f"Epoch 2. Train and validation loss are together at {train_loss:.3g} and {valid_loss:.3g};" in found[1]
    assert " ".join(advice).startswith("Train for longer, such as --epochs 4")
    assert " ".join(more) == "The curves say nothing more."


@pytest.mark.usefixtures("two_runs")
def test_several_runs_come_one_after_the_other(onecycle: Command) -> None:
    first, second = onecycle("diagnose", "short", "runs/wild").stdout.split("\n\n")
    assert "underfitting" in first
    assert "runs/wild: diverged, 0 of 2 epochs" in second
    assert "\ndiverged  Step " in second


@pytest.mark.usefixtures("two_runs")
def test_quiet_prints_the_rules_alone(onecycle: Command) -> None:
    assert onecycle("diagnose", "short", "--quiet").stdout == "underfitting\n"
    assert onecycle("diagnose", "short", "wild", "-q").stdout == "runs/short: underfitting\nruns/wild: diverged\n"


@pytest.mark.usefixtures("two_runs")
def test_json_has_every_statement_with_its_evidence(onecycle: Command) -> None:
    short, wild = json.loads(onecycle("diagnose", "short", "wild", "--json").stdout)["runs"]
    assert (short["run"], short["status"], short["epochs"]) == ("runs/short", "finished", 2)
    (found,) = short["statements"]
    assert found.keys() == {"rule", "place", "text", "evidence", "advice"}
    assert (found["rule"], found["place"]) == ("underfitting", {"unit": "epoch", "first": 2, "last": 2})
    assert found["evidence"].keys() == {"train_loss", "valid_loss", "chance"}
    assert wild["statements"][0]["place"]["unit"] == "step"


def test_train_ends_with_the_most_important_one(onecycle: Command, tiny_digits: list[str]) -> None:
    shown = onecycle("train", *tiny_digits, "--name", "shown").stdout
    assert "\ndiagnosis" in shown
    assert "underfitting, epoch 2. Train and validation loss are together" in shown
    quiet = onecycle("train", *tiny_digits, "--quiet").stdout
    assert "underfitting" not in quiet
    told = json.loads(onecycle("train", *tiny_digits, "--json", "--name", "told").stdout)["diagnosis"]
    assert told["rule"] == "underfitting"
    assert json.loads(Path("runs/told/summary.json").read_text())["diagnosis"] == told


def test_where_the_curves_say_nothing_so_does_the_command(onecycle: Command, tiny_digits: list[str]) -> None:
    learned = ("--epochs", 15, "--max-lr", 0.2, "--set", "model.width=0.5", "--batch-size", 64, "--name", "learned")
    assert "diagnosis" not in onecycle("train", *tiny_digits, *learned).stdout
    quiet = onecycle("diagnose", "learned", "--quiet")
    assert (quiet.stdout, quiet.stderr) == ("", "The curves of runs/learned say nothing.\n")
    lines = onecycle("diagnose", "learned").stdout.splitlines()
    assert [line.strip() for line in lines[1:]] == ["The curves say nothing."]
    assert json.loads(onecycle("diagnose", "learned", "--json").stdout)["runs"][0]["statements"] == []


def test_a_training_inside_a_sweep_is_one_too(onecycle: Command, tiny_digits: list[str]) -> None:
    cells_of = ("--param", "optimizer.weight_decay=1e-3,1e-4", "--mode", "train", "--name", "swept")
    assert onecycle("sweep", *tiny_digits, *cells_of).exit_code == 0
    cells = sorted(str(path.parent) for path in Path("runs/swept").glob("*/epochs.csv"))
    assert len(cells) == 2
    assert onecycle("diagnose", *cells, "-q").stdout == "".join(f"{cell}: underfitting\n" for cell in cells)


def test_a_run_that_cannot_be_read_is_told(onecycle: Command, tiny_digits: list[str]) -> None:
    onecycle("find-lr", *tiny_digits, "--name", "found")
    result = onecycle("diagnose", "found")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "runs/found has no epochs.csv: it is a run of find-lr, finished." in result.stderr
    assert "is not a run" in onecycle("diagnose", "nowhere").stderr
    onecycle("train", *tiny_digits, "--name", "trained", "--weight-decay", 1e-3)
    assert "other settings" in onecycle("diagnose", "trained", "--range-test", "found").stderr
