"""`evaluate` and `predict`."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import Result

Command = Callable[..., Result]


@pytest.mark.draws
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
        (("predict", "trained", "x.png", "--format", "xml"), "Give table, csv or json"),
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


def test_predict_answers_for_the_good_files_names_the_bad_ones_and_exits_with_2(
    onecycle: Command, trained: str, image_folder: Callable
) -> None:
    path = image_folder("x", "y", images=2)
    (path / "x" / "bad.png").write_text("no image")
    words = ("predict", trained, path, "nowhere.png", path / "x" / "0.png")
    good = [str(path / name) for name in ("x/0.png", "x/1.png", "y/0.png", "y/1.png", "x/0.png")]
    for form in ("table", "csv", "json"):
        result = onecycle(*words, "--format", form)
        assert result.exit_code == 2
        assert "2 files cannot be read as images" in result.stderr
        assert "bad.png cannot be read as an image" in result.stderr
        assert "There is no image at nowhere.png" in result.stderr
        if form == "json":
            assert [row["image"] for row in json.loads(result.stdout)] == good
        else:
            assert [line.replace(",", " ").split()[0] for line in result.stdout.splitlines()[1:]] == good


def test_predict_prints_csv_a_batch_at_a_time_and_tells_its_progress(
    onecycle: Command, trained: str, image_folder: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = image_folder("x", images=5)
    words = ("predict", trained, folder, "--format", "csv")
    at_once = onecycle(*words)
    assert at_once.stderr == ""
    for place in ("experiments.classifier.BATCH_SIZE", "experiments.classifier.CHUNK", "data.file_decoding.CHUNK"):
        monkeypatch.setattr(f"onecycle_cli.{place}", 2)
    printed: list[str] = []
    monkeypatch.setattr("onecycle_cli.cli.console.show_csv", printed.append)
    assert onecycle(*words).stderr == "predicting 5/5 images\n"
    assert [len(text.splitlines()) for text in printed] == [3, 2, 1]
    assert [line.split(",")[:2] for line in "".join(printed).splitlines()] == [
        line.split(",")[:2] for line in at_once.stdout.splitlines()
    ]


def test_evaluate_names_all_files_that_cannot_be_read(onecycle: Command, trained: str, image_folder: Callable) -> None:
    path = image_folder("1", "2", images=8)
    bad = [path / "1" / f"{number}.png" for number in range(3)]
    for file in bad:
        file.write_text("no image")
    result = onecycle("evaluate", trained, "--data", path)
    assert result.exit_code == 2
    assert all(f"{file} cannot be read" in result.stderr for file in bad)


@pytest.mark.draws
def test_a_class_of_any_name_passes_through_training_evaluation_and_prediction(
    onecycle: Command, image_folder: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("onecycle_cli.figures.page.DPI", 20)
    names = sorted(["\udcff\udcfe", "$x_$", "a\nb", "_a", "中文", "עברית", "\x1b[2J", '"', "=1"])
    path = image_folder(*names, name="photos\udcff")
    settings = {
        "data.path": path,
        "data.image_size": 8,
        "data.padding": 1,
        "data.batch_size": 4,
        "data.valid_fraction": 0.5,
        "model.architecture": "cnn",
        "model.width": 0.25,
        "schedule.epochs": 1,
        "schedule.max_lr": 0.01,
    }
    words = [word for field, value in settings.items() for word in ("--set", f"{field}={value}")]
    trained = onecycle("train", "images", *words, "--device", "cpu", "--name", "odd")
    assert trained.exit_code in (0, 3), trained.stderr
    assert json.loads(Path("runs/odd/run.json").read_text())["classes"][-1] == "\\xff\\xfe"
    found = json.loads(onecycle("evaluate", "odd", "--json", "--name", "scored").stdout)
    assert [row["class"] for row in found["per_class"]] == [*names[:-1], "\\xff\\xfe"]
    assert "\\xff\\xfe" in pd.read_csv("runs/scored/per_class.csv")["class"].tolist()
    assert Path("runs/scored/confusion_matrix.png").is_file()
    notes = json.loads(Path("runs/scored/run.json").read_text())["notes"]
    assert any("no font that matplotlib finds has them" in note for note in notes)
    onecycle("evaluate", "odd", "--data", path, "--name", "again")
    assert json.loads(Path("runs/again/summary.json").read_text())["images"] == 4 * len(names)
    rows = json.loads(onecycle("predict", "odd", path / "_a", "--format", "json").stdout)
    assert len(rows) == 4
    assert rows[0]["image"].endswith("photos\\xff/_a/0.png")
    for command in ("runs", "compare odd scored", "diagnose odd", "data check runs/odd/recipe.yaml"):
        assert onecycle(*command.split()).exit_code == 0, command
