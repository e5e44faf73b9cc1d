"""`evaluate` and `predict`."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., object]


@pytest.fixture
def trained(onecycle: Command, tiny_digits: list[str]) -> str:
    assert onecycle("train", *tiny_digits, "--name", "trained").exit_code == 0
    return "trained"


def test_evaluate_prints_a_row_a_class_and_where_the_matrix_is(onecycle: Command, trained: str) -> None:
    result = onecycle("evaluate", trained)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["class", "images", "correct", "recall", "precision"]
    assert [line.split()[0] for line in lines[1:11]] == list("0123456789")
    named = dict(line.split(maxsplit=1) for line in lines[12:])
    assert Path(named["confusion"]).is_file()
    assert Path(named["figure"]).is_file()
    assert named["scored"] == "360 images, held out for validation"


def test_evaluate_quiet_is_the_accuracy_that_training_ended_with(onecycle: Command, trained: str) -> None:
    summary = json.loads(Path("runs/trained/summary.json").read_text())
    assert onecycle("evaluate", "runs/trained", "--quiet").stdout == f"{summary['valid_accuracy']:.4f}\n"
    found = json.loads(onecycle("evaluate", trained, "--json").stdout)
    assert found["accuracy"] == pytest.approx(summary["valid_accuracy"])
    assert len(found["per_class"]) == 10


def test_evaluate_scores_a_folder(onecycle: Command, trained: str, image_folder: Callable) -> None:
    path = image_folder("1", "2", images=3)
    found = json.loads(onecycle("evaluate", trained, "--data", path, "--json").stdout)
    assert (found["images"], found["scored"]) == (6, str(path))


def test_predict_prints_class_and_probability_in_three_forms(
    onecycle: Command, trained: str, image_folder: Callable
) -> None:
    path = image_folder("x", images=2) / "x"
    words = ("predict", trained, path / "0.png", path / "1.png")
    plain = onecycle(*words).stdout.splitlines()
    assert plain[0].split() == ["image", "class", "probability"]
    rows = list(csv.DictReader(io.StringIO(onecycle(*words, "--format", "csv").stdout)))
    objects = json.loads(onecycle(*words, "--format", "json").stdout)
    assert (
        [row["image"] for row in rows] == [one["image"] for one in objects] == [line.split()[0] for line in plain[1:]]
    )
    assert (
        [row["class"] for row in rows] == [one["class"] for one in objects] == [line.split()[1] for line in plain[1:]]
    )
    assert all(0.1 <= one["probability"] <= 1 for one in objects)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("evaluate", "nowhere"), "is not a run"),
        (("evaluate", "trained", "--best"), "holds no best.safetensors"),
        (("evaluate", "trained", "--data", "nowhere"), "There is no folder nowhere"),
        (("predict", "trained", "nowhere.png"), "There is no image at nowhere.png"),
        (("predict", "trained", "x.png", "--format", "xml"), "It is table, csv or json"),
    ],
)
@pytest.mark.usefixtures("trained")
def test_what_is_not_there_is_told(onecycle: Command, words: tuple[str, ...], says: str) -> None:
    result = onecycle(*words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stdout == ""


def test_the_best_weights_are_used_where_kept(onecycle: Command, tiny_digits: list[str]) -> None:
    onecycle("train", *tiny_digits, "--name", "kept", "--set", "runtime.save_best=true")
    summary = json.loads(Path("runs/kept/summary.json").read_text())
    best = onecycle("evaluate", "kept", "--best", "--device", "cpu", "--quiet").stdout
    assert best == f"{summary['best_valid_accuracy']:.4f}\n"
