"""`compare` as a person and as a script run it."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest
from typer.testing import Result

Command = Callable[..., Result]


@pytest.fixture
def four(once: Callable, onecycle: Command, tiny_digits: list[str]) -> dict[str, dict[str, object]]:
    """Two max_lrs with two seeds each: the summary of each run, by its folder."""

    def make() -> dict[str, dict[str, object]]:
        for max_lr in (0.1, 0.01):
            for seed in (0, 1):
                name = f"20260101-{seed}{max_lr}-train-digits"
                onecycle("train", *tiny_digits, "--max-lr", max_lr, "--seed", seed, "--name", name)
        return {str(path): json.loads((path / "summary.json").read_text()) for path in sorted(Path("runs").iterdir())}

    return once("two max_lrs with two seeds", make)


def blocks(text: str) -> list[list[list[str]]]:
    """Each table of a page as its lines, each line as its cells."""
    return [[line.split() for line in block.splitlines()] for block in text.split("\n\n")]


def test_the_table_has_what_differs_and_what_is_the_same_stands_below(
    onecycle: Command, four: dict[str, dict[str, Any]]
) -> None:
    result = onecycle("compare", *four)
    assert result.exit_code == 0
    table, seeds, same = blocks(result.stdout)
    losses = ["train_loss", "train_accuracy", "valid_loss", "valid_accuracy", "valid_balanced_accuracy"]
    assert table[0][:8] == ["run", "seed", "max_lr", *losses]
    assert [row[:3] for row in table[1:]] == [
        ["00.01", "0", "0.01"],
        ["00.1", "0", "0.1"],
        ["10.01", "1", "0.01"],
        ["10.1", "1", "0.1"],
    ]
    assert [row[6] for row in table[1:]] == [f"{summary['valid_accuracy']:.4f}" for summary in four.values()]
    assert same[:3] == [["train", "runs/20260101-*-train-digits"], ["status", "finished"], ["epochs", "2"]]
    assert seeds[0] == ["max_lr", "result", "seeds", "mean", "standard_deviation", "standard_error"]
    low = [summary["valid_accuracy"] for path, summary in four.items() if "0.01" in path]
    assert seeds[2][:4] == ["0.01", "valid_accuracy", "2", f"{fmean(low):.4f}"]


def test_csv_and_json_have_every_number(onecycle: Command, four: dict[str, dict[str, Any]]) -> None:
    rows = list(csv.DictReader(io.StringIO(onecycle("compare", *four, "--csv", "-").stdout)))
    assert [row["run"] for row in rows] == list(four)
    assert [float(row["schedule.max_lr"]) for row in rows] == [0.01, 0.1, 0.01, 0.1]
    found = json.loads(onecycle("compare", *four, "--json").stdout)
    assert found["differing"] == ["schedule.max_lr", "seed"]
    for run, row in zip(found["runs"], rows, strict=True):
        assert run["results"]["valid_loss"] == four[run["path"]]["valid_loss"]
        assert float(row["valid_loss"]) == pytest.approx(four[run["path"]]["valid_loss"], rel=1e-8)
        assert run["settings"]["data.batch_size"] == 128
    assert [spread["n"] for spread in found["over_seeds"]] == [2, 2, 2, 2]
    assert found["left_out"] == []


@pytest.mark.draws
def test_files_are_written_once_and_told(onecycle: Command, four: dict[str, dict[str, Any]]) -> None:
    words = ("compare", *four, "--csv", "a.csv", "--plot", "a.png")
    assert blocks(onecycle(*words).stdout)[-1] == [["table", "a.csv"], ["figure", "a.png"]]
    assert len(Path("a.csv").read_text().splitlines()) == 5
    assert Path("a.png").read_bytes()[1:4] == b"PNG"
    again = onecycle(*words)
    assert again.exit_code == 2
    assert "a.png exists already" in again.stderr


def test_trainings_and_range_tests_have_a_table_each(onecycle: Command, tiny_digits: list[str], trained: str) -> None:
    onecycle("sweep-wd", *tiny_digits, "--name", "swept", "--weight-decays", "1e-2,1e-4")
    result = onecycle("compare", trained, "swept", "--plot", "a.png")
    assert result.exit_code == 0
    training, tests, below, _ = blocks(result.stdout)
    assert training[:3] == [["train", "runs/trained"], ["weight_decay", "1e-4"], ["status", "finished"]]
    assert tests[0][:3] == ["run", "weight_decay", "max_lr"]
    assert [row[:2] for row in tests[1:]] == [["weight_decay=0.01", "0.01"], ["weight_decay=1e-4", "1e-4"]]
    assert below[0] == ["find-lr", "runs/swept/*"]


def test_runs_of_the_same_settings_say_so(onecycle: Command, trained: str) -> None:
    for name in ("one", "other"):
        shutil.copytree(f"runs/{trained}", f"runs/{name}")
    table, same = blocks(onecycle("compare", "one", "other").stdout)
    assert [row[0] for row in table] == ["run", "one", "other"]
    assert ["settings", "the", "same", "in", "all"] in same


def test_a_damaged_run_is_mentioned_and_does_not_hinder_the_others(onecycle: Command, trained: str) -> None:
    for name in ("whole", "damaged"):
        shutil.copytree(f"runs/{trained}", f"runs/{name}")
    Path("runs/damaged/run.json").write_text("{")
    result = onecycle("compare", "whole", "damaged")
    assert result.exit_code == 0
    assert result.stderr == "Left out: runs/damaged/run.json is damaged: it is not JSON.\n"
    assert result.stdout.splitlines()[0].split() == ["train", "runs/whole"]
    alone = onecycle("compare", "damaged")
    assert (alone.exit_code, alone.stdout) == (2, "")
    assert "is not JSON" in alone.stderr


def test_runs_of_other_images_are_told_apart_by_the_end_of_their_paths(
    onecycle: Command, tiny_digits: list[str], image_folder: Callable[..., Path]
) -> None:
    for name in ("cats", "dogs"):
        folder = image_folder("train/a", "train/b", "test/a", "test/b", images=8, name=name)
        images = ("--set", "data.source=image_folder", "--set", f"data.path={folder}", "--batch-size", 4)
        assert onecycle("train", *tiny_digits, *images, "--set", "data.valid_fraction=0", "--name", name).exit_code == 0
    table = blocks(onecycle("compare", "cats", "dogs").stdout)[0]
    assert table[0][:2] == ["run", "path"]
    assert [row[:2] for row in table[1:]] == [["cats", "cats"], ["dogs", "dogs"]]


def test_the_cells_of_a_sweep_are_compared_as_what_they_are(onecycle: Command, tiny_digits: list[str]) -> None:
    grid = ("--param", "model.width=0.125,0.25", "--set", "schedule.epochs=1", "--set", "data.valid_fraction=0.6")
    onecycle("sweep", *tiny_digits, *grid, "--seeds", 2, "--name", "widths")
    onecycle("sweep", *tiny_digits, *grid, "--mode", "range", "--name", "tests")
    trainings, seeds, _, tests, _ = blocks(onecycle("compare", "widths", "tests").stdout)
    assert trainings[0][:3] == ["run", "width", "seed"]
    assert [row[1:3] for row in trainings[1:]] == [["0.125", "0"], ["0.125", "1"], ["0.25", "0"], ["0.25", "1"]]
    assert [row[:3] for row in seeds[1:]] == [
        [width, result, "2"] for width in ("0.125", "0.25") for result in ("valid_loss", "valid_accuracy")
    ]
    assert [row[1] for row in tests[1:]] == ["0.125", "0.25"]


def test_csv_and_json_cannot_both_be_standard_output(onecycle: Command) -> None:
    result = onecycle("compare", "runs", "--csv", "-", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--csv - and --json both print to standard output." in result.stderr
