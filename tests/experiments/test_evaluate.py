"""Scoring class by class."""

from collections.abc import Callable
from itertools import count
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from onecycle_cli.analysis.wrong_predictions import MOST
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.classifier import load_model
from onecycle_cli.experiments.evaluate import Evaluation, evaluate_run
from onecycle_cli.experiments.recipe_images import open_recipe_data
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, load, to_yaml
from onecycle_cli.run_dir.files import SHEET_COLUMNS
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")


@pytest.fixture
def scored(tmp_path: Path, tiny: Callable[..., Recipe]) -> Callable[..., tuple[RunDir, RunDir, Evaluation]]:
    """Trains and scores; gives the training run, the scoring's folder and its result."""

    def run_it(values: dict | None = None, folder: Path | None = None) -> tuple[RunDir, RunDir, Evaluation]:
        recipe = tiny(values)

        def new(command: str) -> RunDir:
            text = to_yaml(recipe)
            return RunDir.create(tmp_path, command=command, recipe_name="x", recipe_yaml=text, facts={}, name=None)

        trained, scoring = new("train"), new("evaluate")
        train(recipe, Session(trained, CPU, silent))
        result = evaluate_run(load_model(trained.path), trained, recipe, folder, Session(scoring, CPU, silent))
        return trained, scoring, result

    return run_it


def test_without_a_test_split_the_held_out_images_are_scored_as_in_training(scored: Callable) -> None:
    trained, scoring, result = scored()
    assert result.summary["scored"] == "held out for validation"
    assert result.summary["images"] == 360
    assert result.summary["accuracy"] == pytest.approx(trained.summary["valid_accuracy"])
    assert result.summary["loss"] == pytest.approx(trained.summary["valid_loss"], rel=1e-4)
    assert scoring.summary == result.summary
    assert sorted(path.name for path in scoring.path.iterdir()) == [
        "confusion_matrix.csv",
        "confusion_matrix.png",
        "per_class.csv",
        "recipe.yaml",
        "run.json",
        "summary.json",
        "wrong_predictions.csv",
        "wrong_predictions.png",
    ]


def test_some_wrong_predictions_are_kept_with_their_images(scored: Callable) -> None:
    trained, scoring, result = scored()
    table = pd.read_csv(scoring.path / "wrong_predictions.csv", dtype={"true": str, "predicted": str})
    wrong = sum(row["images"] - row["correct"] for row in result.per_class)
    assert len(table) == min(wrong, MOST) > 5
    assert (table["true"] != table["predicted"]).all()
    assert table["probability"].is_monotonic_decreasing
    assert (table["probability"] >= table["true_probability"]).all()
    # The images of the sheet are those that the model sees: it gives the same answers for them again.
    data = open_recipe_data(load(trained.path / "recipe.yaml"), silent)
    sheet = np.asarray(Image.open(scoring.path / "wrong_predictions.png"))
    side = data.valid.images.shape[1]
    for number, (at, true) in enumerate(zip(table["image"].tolist(), table["true"].tolist(), strict=True)):
        image = data.valid.images[at][..., 0]
        down, right = side * (number // SHEET_COLUMNS), side * (number % SHEET_COLUMNS)
        assert (sheet[down : down + side, right : right + side] == image).all()
        assert data.classes[data.valid.labels[at]] == true


def test_wrong_predictions_in_a_folder_are_called_by_their_files(scored: Callable, image_folder: Callable) -> None:
    folder = image_folder("3", "7", images=5, name="others")
    _, scoring, _ = scored(folder=folder)
    images = pd.read_csv(scoring.path / "wrong_predictions.csv")["image"]
    assert len(images) > 0
    assert all(Path(image).is_file() and folder in Path(image).parents for image in images)


COLOURED = {"data.channels": 3, "data.image_size": 8, "data.batch_size": 8, "schedule.max_lr": 1e-9}
"""A network that learns nothing, so that about half of its answers are wrong, and sees the colours of the images."""


@pytest.fixture
def coloured(tmp_path: Path) -> Callable[..., Path]:
    """Makes images of one colour each, which says which file it is: `coloured("train/a", "test/a", images=5)`."""
    numbers = count()

    def make(*classes: str, images: int) -> Path:
        for folder in classes:
            (tmp_path / "colours" / folder).mkdir(parents=True)
            for image in range(images):
                number = next(numbers)
                colour = (number, 255 - number, 7 * number % 256)
                Image.new("RGB", (8, 8), colour).save(tmp_path / "colours" / folder / f"{image}.png")
        return tmp_path / "colours"

    return make


def files_on_the_sheet(scoring: RunDir, folder: Path) -> list[str]:
    """Returns the files that the table names. Each is checked to be the image in its place on the sheet."""
    files = pd.read_csv(scoring.path / "wrong_predictions.csv")["file"].tolist()
    sheet = np.asarray(Image.open(scoring.path / "wrong_predictions.png"))
    for number, file in enumerate(files):
        down, right = 8 * (number // SHEET_COLUMNS), 8 * (number % SHEET_COLUMNS)
        assert (sheet[down : down + 8, right : right + 8] == np.asarray(Image.open(folder / file))).all(), file
    assert len(files) == len(set(files)) > 5
    return files


def test_wrong_predictions_of_held_out_images_name_their_files(scored: Callable, coloured: Callable) -> None:
    path = coloured("shoes", "pants", images=30)
    values = {"data.source": "image_folder", "data.path": str(path), "data.valid_fraction": 0.5}
    trained, scoring, _ = scored(values | COLOURED)
    before = files_on_the_sheet(scoring, path)
    for number, file in enumerate(sorted(path.glob("*/*.png"))):
        file.rename(file.with_name(f"{7 * number % 60}-new.png"))
    again = scoring.inner("again", "")
    recipe = load(trained.path / "recipe.yaml")
    evaluate_run(load_model(trained.path), trained, recipe, None, Session(again, CPU, silent))
    after = files_on_the_sheet(again, path)
    assert len(after) == len(before)
    assert all("-new" in file for file in after)


def test_wrong_predictions_of_a_test_split_name_their_files(scored: Callable, coloured: Callable) -> None:
    path = coloured("train/a", "train/b", "test/a", "test/b", images=15)
    # Copies in both splits, and a file that moves from one to the other after the training.
    for name in ("a", "b"):
        (path / "train" / name / "0.png").write_bytes((path / "test" / name / "3.png").read_bytes())
    values = {"data.source": "image_folder", "data.path": str(path), "data.valid_fraction": 0.2}
    values |= {"model.architecture": "resnet8"}  # untrained, it answers one class: one of the two that move is wrong
    trained, scoring, _ = scored(values | COLOURED)
    assert all(file.startswith("test/") for file in files_on_the_sheet(scoring, path))
    for name in ("a", "b"):
        (path / "test" / name / "5.png").rename(path / "train" / name / "moved.png")
    again = scoring.inner("again", "")
    recipe = load(trained.path / "recipe.yaml")
    evaluate_run(load_model(trained.path), trained, recipe, None, Session(again, CPU, silent))
    files = files_on_the_sheet(again, path)
    assert [Path(file).name for file in files if file.startswith("train/")] == ["moved.png"]
    assert sum(Path(file).name == "3.png" for file in files) == 1


def test_wrong_predictions_in_a_folder_name_the_files_below_it(scored: Callable, coloured: Callable) -> None:
    path = coloured("a", "b", images=20)
    values = {"data.source": "image_folder", "data.path": str(path), "data.valid_fraction": 0.2}
    _, scoring, _ = scored(values | COLOURED, folder=path)
    files = files_on_the_sheet(scoring, path)
    images = pd.read_csv(scoring.path / "wrong_predictions.csv")["image"].tolist()
    assert images == [str(path / file) for file in files]


def test_wrong_predictions_of_a_source_without_files_name_none(scored: Callable) -> None:
    _, scoring, _ = scored()
    assert pd.read_csv(scoring.path / "wrong_predictions.csv")["file"].isna().all()


def test_the_table_and_the_matrix_agree(scored: Callable) -> None:
    _, scoring, result = scored()
    table = pd.read_csv(scoring.path / "per_class.csv", dtype={"class": str})
    matrix = pd.read_csv(scoring.path / "confusion_matrix.csv", index_col=0)
    assert table["class"].tolist() == list("0123456789")
    assert matrix.columns.tolist() == list("0123456789")
    counts = matrix.to_numpy()
    assert counts.sum() == 360
    assert table["images"].tolist() == counts.sum(1).tolist()
    assert table["correct"].tolist() == counts.diagonal().tolist()
    assert table["correct"].sum() / 360 == pytest.approx(result.summary["accuracy"])
    assert table["recall"].tolist() == pytest.approx((counts.diagonal() / counts.sum(1)).tolist())
    predicted = counts.sum(0)
    for precision, correct, number in zip(table["precision"], counts.diagonal(), predicted, strict=True):
        assert number == 0 or precision == pytest.approx(correct / number)


def test_the_test_split_is_scored_where_there_is_one(scored: Callable, image_folder: Callable) -> None:
    path = image_folder("train/a", "train/b", "test/a", "test/b", images=20)
    values = {"data.source": "image_folder", "data.path": str(path), "data.batch_size": 8, "data.valid_fraction": 0.2}
    trained, _, result = scored(values)
    assert (result.summary["scored"], result.summary["images"]) == ("test split", 40)
    assert result.summary["accuracy"] == pytest.approx(trained.summary["test_accuracy"])


def test_a_folder_of_some_of_the_classes_can_be_scored(scored: Callable, image_folder: Callable) -> None:
    folder = image_folder("3", "7", images=5, name="others")
    _, _, result = scored(folder=folder)
    assert result.summary["scored"] == str(folder)
    assert result.summary["images"] == 10
    assert [row["images"] for row in result.per_class] == [0, 0, 0, 5, 0, 0, 0, 5, 0, 0]
    assert result.per_class[0]["recall"] is None


def test_a_folder_with_another_class_is_refused(scored: Callable, image_folder: Callable) -> None:
    with pytest.raises(InputError, match="not classes of the training images: zebra"):
        scored(folder=image_folder("3", "zebra", name="others"))


@pytest.fixture
def folder_run(scored: Callable, image_folder: Callable) -> tuple[Path, Callable[[], Evaluation]]:
    """A model trained on a folder of images, and scoring it again on what the folder holds by then."""
    path = image_folder("train/a", "train/b", "test/a", "test/b", images=20)
    values = {"data.source": "image_folder", "data.path": str(path), "data.batch_size": 8, "data.valid_fraction": 0.0}
    trained, scoring, _ = scored(values, folder=path / "test")
    recipe = load(trained.path / "recipe.yaml")
    numbers = count()

    def again() -> Evaluation:
        run = scoring.inner(f"again-{next(numbers)}", "")
        return evaluate_run(load_model(trained.path), trained, recipe, None, Session(run, CPU, silent))

    return path, again


def test_a_folder_whose_classes_have_changed_is_refused(folder_run: tuple[Path, Callable]) -> None:
    path, score = folder_run
    for split in ("train", "test"):
        (path / split / "a").rename(path / split / "z")
    with pytest.raises(InputError, match="have the classes b, z, but the model knows a, b"):
        score()


def test_a_folder_whose_images_have_changed_is_refused(folder_run: tuple[Path, Callable]) -> None:
    path, score = folder_run
    (path / "train" / "a" / "0.png").unlink()
    with pytest.raises(InputError, match="have changed since the training"):
        score()


def test_a_folder_whose_files_were_renamed_is_scored_on_the_same_images(folder_run: tuple[Path, Callable]) -> None:
    path, score = folder_run
    before = score()
    for file in sorted((path / "test" / "a").iterdir()):
        file.rename(file.with_name(f"{100 - int(file.stem)}.png"))
    (path / "test" / "b" / "0.png").rename(path / "train" / "b" / "moved.png")
    after = score()
    assert after.summary["accuracy"] == before.summary["accuracy"]
    assert after.summary["images"] == 40
    assert after.summary["trained_on"] == 0


def test_a_folder_whose_classes_were_swapped_is_refused(folder_run: tuple[Path, Callable]) -> None:
    path, score = folder_run
    (path / "test" / "a").rename(path / "test" / "c")
    (path / "test" / "b").rename(path / "test" / "a")
    (path / "test" / "c").rename(path / "test" / "b")
    with pytest.raises(InputError, match="cannot be rebuilt: of 80, 40 in another class"):
        score()


def test_held_out_images_are_the_same_after_files_were_renamed(scored: Callable, image_folder: Callable) -> None:
    path = image_folder("a", "b", images=20)
    values = {"data.source": "image_folder", "data.path": str(path), "data.batch_size": 8, "data.valid_fraction": 0.2}
    trained, scoring, before = scored(values)
    for file in sorted((path / "a").iterdir()):
        file.rename(file.with_name(f"{100 - int(file.stem)}.png"))
    recipe, again = load(trained.path / "recipe.yaml"), scoring.inner("again", "")
    after = evaluate_run(load_model(trained.path), trained, recipe, None, Session(again, CPU, silent))
    assert after.summary["accuracy"] == before.summary["accuracy"]
    assert after.summary["trained_on"] == 0
    assert "rebuilt by the content of the images" in " ".join(again.facts["notes"])


def test_images_of_a_folder_that_were_trained_on_are_counted(scored: Callable, image_folder: Callable) -> None:
    path = image_folder("train/a", "train/b", "test/a", "test/b", images=20)
    values = {"data.source": "image_folder", "data.path": str(path), "data.batch_size": 8, "data.valid_fraction": 0.0}
    (path / "other").mkdir()
    (path / "train" / "a").rename(path / "other" / "a")
    (path / "train" / "a").symlink_to(path / "other" / "a")
    _, scoring, result = scored(values, folder=path / "other")
    assert result.summary["trained_on"] == 20
    assert "The model was trained on 20 of these 20 images." in scoring.facts["notes"]


def test_a_run_that_kept_no_images_is_scored_with_a_note(folder_run: tuple[Path, Callable]) -> None:
    path, score = folder_run
    trained = next(run for run in path.parent.iterdir() if (run / "images.npy").exists())
    RunDir(trained).update(files={})
    (trained / "images.npy").unlink()
    assert score().summary["trained_on"] is None


def test_balanced_and_top_5_accuracy_are_those_of_the_training(scored: Callable) -> None:
    trained, _, result = scored()
    assert result.summary["balanced_accuracy"] == pytest.approx(trained.summary["valid_balanced_accuracy"])
    assert result.summary["balanced_accuracy"] == pytest.approx(sum(row["recall"] for row in result.per_class) / 10)
    assert result.summary["top5_accuracy"] == pytest.approx(trained.summary["valid_top5_accuracy"])
    assert result.summary["accuracy"] < result.summary["top5_accuracy"] <= 1
    assert result.summary["only_answer"] is None


def test_a_model_that_answers_a_single_class_is_said_to(scored: Callable, noise_folder: Callable[..., Path]) -> None:
    folder = noise_folder(a=36, b=4)
    images = {"data.source": "image_folder", "data.path": str(folder), "data.batch_size": 16, "schedule.max_lr": 1e-9}
    images |= {"model.architecture": "resnet8"}  # untrained, it answers one class; a cnn does not
    trained, scoring, result = scored(images | {"data.valid_fraction": 0.5})
    assert result.summary["balanced_accuracy"] == 0.5
    assert result.summary["top5_accuracy"] is None
    answer = result.summary["only_answer"]
    assert answer in ("a", "b")
    assert f"The model answers '{answer}' for every image." in scoring.facts["notes"]
    assert f"The model answers '{answer}' for every validation image." in trained.facts["notes"]
