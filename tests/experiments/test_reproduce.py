"""Reproduction of the blog post's runs, on images that two steps tell apart."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from onecycle_cli.analysis.reproduction import PUBLISHED
from onecycle_cli.errors import InputError
from onecycle_cli.experiments import batch_size
from onecycle_cli.experiments.reproduce import ReproductionPlan, changed_settings, reproduce
from onecycle_cli.experiments.session import Session, hardware_facts
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, load, shipped_path, to_yaml, with_values
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")


@pytest.fixture(autouse=True)
def _quick_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size, "TIMED_SECONDS", 0.0)


@pytest.fixture
def recipes(image_folder: Callable[..., Path]) -> dict[str, Recipe]:
    """The six recipes on images of a dark and a bright class, with a small network and a small lr."""
    path = image_folder("train/a", "train/b", "test/a", "test/b", images=24, size=(32, 32))
    values = {"data.source": "image_folder", "data.path": str(path), "data.batch_size": 16}
    values |= {"model.architecture": "cnn", "model.width": 0.25, "optimizer.weight_decay": 0.0}
    values |= {"runtime.device": "cpu", "runtime.precision": "float32"}
    return {name: with_values(load(shipped_path(one.recipe)), values) for name, one in PUBLISHED.items()}


@pytest.fixture
def reproduced(recipes: dict[str, Recipe], tmp_path: Path) -> Callable[..., tuple[RunDir, Any, list[str]]]:
    def run_it(asked: Sequence[str], *, seeds: int = 1, scale: float = 0.03) -> tuple[RunDir, Any, list[str]]:
        plan, folder, told = ReproductionPlan(recipes, asked, seeds, scale), tmp_path / "runs" / "r", []
        if not folder.exists():
            text = to_yaml(plan.scaled("E1"))
            RunDir.create(
                folder.parent,
                command="reproduce",
                recipe_name="r",
                recipe_yaml=text,
                facts=hardware_facts(CPU),
                name=folder.name,
            )
        run = RunDir(folder)
        session = Session(run, CPU, lambda news: told.append(news) if isinstance(news, str) else None)
        return run, reproduce(plan, session), told

    return run_it


@pytest.mark.draws
def test_each_run_is_the_scaled_recipe_and_further_ones_join_the_folder(reproduced: Callable) -> None:
    run, first, told = reproduced(["E3"])
    assert any("One run, 2 epochs in all: about " in line for line in told)
    cell = load(run.path / "E3,seed=0" / "recipe.yaml")
    assert (cell.schedule.epochs, cell.schedule.max_lr, cell.seed) == (2, 3.0, 0)
    assert first.orders == []
    before = (run.path / "E3,seed=0" / "steps.csv").stat().st_mtime_ns
    run, second, told = reproduced(["E1"], seeds=2)
    assert [row["experiment"] for row in second.rows] == ["E1", "E3"]
    assert [(row["n"] + row["not_finished"]) for row in second.rows] == [2, 1]
    assert [(one.better, one.worse) for one in second.orders] == [("E1", "E3")]
    assert (run.path / "E3,seed=0" / "steps.csv").stat().st_mtime_ns == before
    assert any("Timing" in line for line in told) is False  # the run that has ended says how long one takes
    assert run.facts["status"] == "finished"
    assert (run.path / "reproduction.png").is_file()
    page = (run.path / "report.html").read_text()
    assert "a long cycle and a short tail" not in page  # E2 is not there
    assert "95 epochs up to lr 0.8 beat 50 epochs up to lr 3" in page
    assert "E3,seed=0" in page


def test_the_tables_have_what_the_summary_has(reproduced: Callable) -> None:
    run, result, _ = reproduced(["E1", "E2"])
    table = pd.read_csv(run.path / "reproduction.csv")
    assert list(table["experiment"]) == ["E1", "E2"]
    assert list(table["blog_accuracy"]) == [0.9353, 0.9258]
    assert table["valid_accuracy"][0] == pytest.approx(run.summary["experiments"][0]["valid_accuracy"])
    assert set(table["verdict"]) <= {"not compared", "no result"}
    order = pd.read_csv(run.path / "order.csv")
    assert list(order["published_difference"]) == pytest.approx([0.0095])
    assert result.differs[0] == "the number of epochs"
    assert {"data.batch_size", "model.architecture", "the images"} <= {*result.differs}
    assert "cannot be compared" in run.summary["verdict"]


def test_the_same_runs_give_the_same_tables_and_run_once(reproduced: Callable) -> None:
    run, _, _ = reproduced(["E2"])
    before = {path.name: path.read_bytes() for path in run.path.glob("*.csv")}
    stamp = (run.path / "E2,seed=0" / "summary.json").stat().st_mtime_ns
    run, _, told = reproduced(["E2"])
    assert {path.name: path.read_bytes() for path in run.path.glob("*.csv")} == before
    assert (run.path / "E2,seed=0" / "summary.json").stat().st_mtime_ns == stamp
    assert "1 of 1 cells were run before." in told


def test_a_report_that_a_person_changed_is_left_alone_and_costs_nothing(reproduced: Callable) -> None:
    run, _, _ = reproduced(["E3"])
    (run.path / "report.html").write_text("mine")
    run, result, told = reproduced(["E3"])
    assert (run.path / "report.html").read_text() == "mine"
    assert any("The report was not written" in line for line in told)
    assert result.rows[0]["experiment"] == "E3"


def test_a_folder_of_other_settings_is_refused(reproduced: Callable) -> None:
    reproduced(["E3"])
    with pytest.raises(InputError, match="holds runs of other settings"):
        reproduced(["E3"], scale=0.04)


def test_what_the_experiments_are_about_cannot_be_changed(recipes: dict[str, Recipe]) -> None:
    changed = {name: with_values(recipe, {"schedule.max_lr": 1.0}) for name, recipe in recipes.items()}
    with pytest.raises(InputError, match=r"schedule\.max_lr is what the published runs differ in"):
        changed_settings(changed)


def test_a_damaged_run_is_set_aside_and_trained_again(reproduced: Callable) -> None:
    run, first, _ = reproduced(["E3"])
    (run.path / "E3,seed=0" / "run.json").write_text('{"command": "repro')
    run, again, _ = reproduced(["E3"])
    assert again.rows == first.rows
    assert (run.path / "E3,seed=0.unfinished-1" / "run.json").is_file()


def test_a_folder_whose_images_could_not_be_read_is_free_for_other_settings(
    recipes: dict[str, Recipe], tmp_path: Path
) -> None:
    def run_with(batch_size: int) -> None:
        changed = {name: with_values(recipe, {"data.batch_size": batch_size}) for name, recipe in recipes.items()}
        plan = ReproductionPlan(changed, ["E3"], 1, 0.03)
        reproduce(plan, Session(run, CPU, silent))

    text = to_yaml(recipes["E1"])
    run = RunDir.create(
        tmp_path / "runs", command="reproduce", recipe_name="r", recipe_yaml=text, facts=hardware_facts(CPU), name="r"
    )
    with pytest.raises(InputError, match="batch_size"):
        run_with(500)
    run_with(16)
    assert run.facts["status"] == "finished"


def test_only_the_place_of_the_images_may_differ_unmentioned(image_folder: Callable[..., Path]) -> None:
    path = str(image_folder("train/a", "train/b", images=1))
    values = {"data.source": "image_folder", "data.path": path, "runtime.device": "cpu"}
    moved = {name: with_values(load(shipped_path(one.recipe)), values) for name, one in PUBLISHED.items()}
    assert changed_settings(moved) == []
    wider = {name: with_values(recipe, {"model.width": 2.0}) for name, recipe in moved.items()}
    assert changed_settings(wider) == ["model.width"]
