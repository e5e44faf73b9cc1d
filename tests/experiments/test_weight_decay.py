"""The weight decay sweep on real images."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch

from onecycle_cli.experiments.range_test import find_lr
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.sweep_plan import joined
from onecycle_cli.experiments.weight_decay import WeightDecaySweep, sweep_wd, value_folder, weight_decay_plan
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, load, to_yaml
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")


@pytest.fixture
def new_run(tmp_path: Path) -> Callable[[Recipe], RunDir]:
    def make(recipe: Recipe) -> RunDir:
        text = to_yaml(recipe)
        return RunDir.create(tmp_path, command="sweep-wd", recipe_name="d", recipe_yaml=text, facts={}, name=None)

    return make


@pytest.fixture
def swept(new_run: Callable, easy: Callable) -> Callable[..., tuple[RunDir, WeightDecaySweep]]:
    def run_it(
        *weight_decays: float, values: dict[str, float] | None = None, repeats: int = 1, refine: bool = False
    ) -> tuple[RunDir, WeightDecaySweep]:
        recipe = easy({"sweep_wd.weight_decays": weight_decays} | (values or {}))
        run = new_run(recipe)
        plan = joined(weight_decay_plan(recipe, repeats), run, CPU.precision)
        return run, sweep_wd(plan, Session(run, CPU, silent), source="digits", refine=refine)

    return run_it


def test_each_value_is_the_range_test_that_find_lr_would_run(
    swept: Callable, new_run: Callable, easy: Callable
) -> None:
    run, _ = swept(1e-2, 1e-3)
    for value in (1e-2, 1e-3):
        recipe = easy({"optimizer.weight_decay": value, "sweep_wd.weight_decays": (1e-2, 1e-3)})
        alone = new_run(recipe)
        find_lr(recipe, Session(alone, CPU, silent))
        inner = run.path / value_folder(value)
        assert (inner / "lr_range.csv").read_bytes() == (alone.path / "lr_range.csv").read_bytes()
        assert load(inner / "recipe.yaml") == recipe
        assert RunDir(inner).facts["status"] == "finished"
        assert {path.name for path in inner.iterdir()} == {path.name for path in alone.path.iterdir()} | {
            "summary.json"
        }


def test_the_table_has_a_row_a_value_with_what_its_curve_says(swept: Callable) -> None:
    run, sweep = swept(1e-2, 1e-4)
    table = pd.read_csv(run.path / "sweep.csv")
    assert table.columns.tolist() == [
        "weight_decay",
        "argmin_lr",
        "onset_lr",
        "reach_lr",
        "stop_lr",
        "max_lr",
        "confidence",
        "expected_points_lost",
        "points_lost_90",
        "lowest_max_lr",
        "highest_max_lr",
        "status",
        "error",
    ]
    assert table["weight_decay"].tolist() == [1e-2, 1e-4]
    for row, value in zip(table.to_dict("records"), (1e-2, 1e-4), strict=True):
        curve = pd.read_csv(run.path / value_folder(value) / "lr_range.csv")
        assert row["argmin_lr"] in curve["lr"].tolist()
        assert row["argmin_lr"] < row["onset_lr"] <= row["reach_lr"] <= curve["lr"].iloc[-1]
        suggestion = RunDir(run.path / value_folder(value)).read_json("suggestion.json")
        for name in ("max_lr", "points_lost_90", "lowest_max_lr"):
            assert row[name] == suggestion[name]
    assert sweep.reading.chosen.weight_decay in (1e-2, 1e-4)
    assert (run.path / "sweep.png").is_file()


def test_refining_tests_the_values_half_way_to_the_neighbours_of_the_chosen_one(swept: Callable) -> None:
    _, plain = swept(1e-2, 1e-4)
    run, refined = swept(1e-2, 1e-4, refine=True)
    assert [row["weight_decay"] for row in refined.rows] == [1e-2, 1e-4, 1e-3]
    assert refined.rows[:2] == plain.rows
    assert pd.read_csv(run.path / "sweep.csv")["weight_decay"].tolist() == [1e-2, 1e-4, 1e-3]
    assert (run.path / "weight_decay=1e-3" / "lr_range.csv").is_file()


def test_each_value_is_repeated_with_the_same_seeds(swept: Callable) -> None:
    run, _ = swept(1e-2, 1e-4, repeats=2)
    for value in (1e-2, 1e-4):
        assert pd.read_csv(run.path / value_folder(value) / "lr_range.csv")["seed"].unique().tolist() == [0, 1]


def test_a_value_that_diverges_at_once_is_a_row_and_not_chosen(swept: Callable) -> None:
    # At lr 100, a weight decay of 1 multiplies the weights by -99; none leaves them in place for some steps.
    at_large_lr = {"find_lr.start_lr": 100.0, "find_lr.end_lr": 1000.0}
    run, sweep = swept(1.0, 0.0, values=at_large_lr)
    assert sweep.rows[0]["status"] == "diverged"
    assert sweep.rows[0]["max_lr"] is None
    table = pd.read_csv(run.path / "sweep.csv")
    assert table["weight_decay"].tolist() == [1.0, 0.0]
    assert table["status"][0] == "diverged"
    assert sweep.reading.chosen is None or sweep.reading.chosen.weight_decay == 0
    assert (run.path / "sweep.png").is_file()


def test_the_stop_lr_is_the_last_before_the_loss_stopped_the_test(swept: Callable) -> None:
    run, sweep = swept(1e-3, values={"find_lr.end_lr": 1000.0, "find_lr.smoothing": 0.5})
    curve = pd.read_csv(run.path / value_folder(1e-3) / "lr_range.csv")
    assert len(curve) < 40
    assert sweep.rows[0]["stop_lr"] == pytest.approx(curve["lr"].iloc[-2], rel=1e-8)
    _, to_its_end = swept(1e-3, values={"find_lr.end_lr": 1.0, "find_lr.stop_factor": 1e6})
    assert to_its_end.rows[0]["stop_lr"] is None


def test_a_sweep_that_goes_on_reads_the_values_it_has_and_tests_those_it_has_not(
    new_run: Callable, tiny: Callable
) -> None:
    def swept(run: RunDir, *weight_decays: float) -> WeightDecaySweep:
        recipe = tiny({"sweep_wd.weight_decays": weight_decays})
        plan = joined(weight_decay_plan(recipe, 1), run, CPU.precision)
        return sweep_wd(plan, Session(run, CPU, silent), source="digits")

    run = new_run(tiny())
    swept(run, 1e-2)
    started = RunDir(run.path / "weight_decay=0.01").facts["started"]
    grown = swept(run, 1e-3, 1e-2)
    assert [row["weight_decay"] for row in grown.rows] == [1e-2, 1e-3]
    assert RunDir(run.path / "weight_decay=0.01").facts["started"] == started


@pytest.mark.parametrize(
    ("weight_decay", "name"), [(1e-3, "weight_decay=1e-3"), (0.01, "weight_decay=0.01"), (0, "weight_decay=0")]
)
def test_the_folder_of_a_value_is_named_by_it(weight_decay: float, name: str) -> None:
    assert value_folder(weight_decay) == name
