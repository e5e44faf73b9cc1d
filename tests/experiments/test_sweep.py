"""A sweep as a whole: its table, its ranking, and that an interrupt leaves no trace in them."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import torch
from typer.testing import Result

from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.sweep import Sweep, sweep
from onecycle_cli.experiments.sweep_plan import SweepPlan, joined
from onecycle_cli.progress import Progress, silent
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")
Tiny = Callable[..., Recipe]
DECAYS = [{"optimizer.weight_decay": value} for value in (1e-3, 1e-4)]


@pytest.fixture
def new_run(tmp_path: Path, tiny: Tiny) -> Callable[[], RunDir]:
    def make() -> RunDir:
        text = to_yaml(tiny())
        facts = {"device": "cpu", "precision": "float32"}
        return RunDir.create(tmp_path, command="sweep", recipe_name="d", recipe_yaml=text, facts=facts, name=None)

    return make


def swept(plan: SweepPlan, run: RunDir) -> Sweep:
    return sweep(joined(plan, run, "float32"), Session(run, CPU, silent), jobs=1, source="digits")


def test_the_table_has_a_row_a_cell_in_the_order_of_the_grid(new_run: Callable, tiny: Tiny) -> None:
    run = new_run()
    result = swept(SweepPlan(tiny({"schedule.epochs": 1}), "train", DECAYS, 2), run)
    table = pd.read_csv(run.path / "sweep.csv")
    assert table[["weight_decay", "seed"]].to_numpy().tolist() == [[1e-3, 0], [1e-3, 1], [1e-4, 0], [1e-4, 1]]
    for row, (_, values) in zip(result.rows, table.iterrows(), strict=True):
        inner = RunDir(
            run.path / f"weight_decay={'1e-3' if row['weight_decay'] == 1e-3 else '1e-4'},seed={row['seed']}"
        )
        assert inner.summary["valid_loss"] == row["valid_loss"] == pytest.approx(values["valid_loss"])
    ranking = pd.read_csv(run.path / "ranking.csv")
    means = table.groupby("weight_decay")["valid_loss"].mean().sort_values()
    assert ranking["weight_decay"].tolist() == means.index.tolist()
    assert ranking["valid_loss"].to_numpy() == pytest.approx(means.to_numpy(), rel=1e-7)
    assert ranking["n"].tolist() == [2, 2]
    assert (run.path / "sweep.png").is_file()
    assert result.best.values["optimizer.weight_decay"] == ranking["weight_decay"][0]
    assert "noise" in result.verdict


def test_each_cell_of_a_sweep_without_max_lr_finds_its_own(new_run: Callable, tiny: Tiny) -> None:
    run = new_run()
    widths = [{"model.width": 0.5}, {"model.width": 1.0}]
    result = swept(SweepPlan(tiny({"schedule.epochs": 1, "schedule.max_lr": None}), "train", widths, 1), run)
    for row, name in zip(result.rows, ("width=0.5,seed=0", "width=1,seed=0"), strict=True):
        found = RunDir(run.path / name).read_json("suggestion.json")["max_lr"]
        assert row["max_lr"] == found


def test_range_tests_have_what_their_curves_say_and_an_overlay(new_run: Callable, tiny: Tiny) -> None:
    run = new_run()
    result = swept(SweepPlan(tiny(), "range", [{"model.dropout": 0.0}, {"model.dropout": 0.5}], 2), run)
    table = pd.read_csv(run.path / "sweep.csv")
    assert table["dropout"].tolist() == [0.0, 0.5]
    assert table["max_lr"].notna().all()
    assert (run.path / "sweep.png").is_file()
    curve = pd.read_csv(run.path / "dropout=0.5" / "lr_range.csv")
    assert curve["seed"].unique().tolist() == [0, 1]
    assert result.ranking == []


def test_a_sweep_that_was_interrupted_goes_on_and_ends_with_the_same_table(new_run: Callable, tiny: Tiny) -> None:
    plan = SweepPlan(tiny({"schedule.epochs": 1}), "train", DECAYS, 2)
    whole, stopped = new_run(), new_run()
    swept(plan, whole)
    table = stopped.path / "sweep.csv"

    def rows() -> int:
        return len(table.read_text().splitlines()) - 1 if table.is_file() else 0

    def stop(news: object) -> None:
        if rows() == 2 and isinstance(news, Progress) and news.done == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sweep(joined(plan, stopped, "float32"), Session(stopped, CPU, stop), jobs=1, source="digits")
    assert rows() == 2
    before = {path: path.read_bytes() for path in stopped.path.glob("*/summary.json")}
    assert len(before) == 2
    swept(plan, stopped)
    assert rows() == 4
    assert {path: path.read_bytes() for path in before} == before  # what had ended is not run again
    for name in ("sweep.csv", "ranking.csv"):
        assert (stopped.path / name).read_bytes() == (whole.path / name).read_bytes()


@pytest.mark.slow
def test_a_sweep_that_was_killed_goes_on_and_ends_with_the_same_table(
    onecycle: Callable[..., Result], tiny_digits: list[str], tmp_path: Path
) -> None:
    words = ["sweep", *tiny_digits, "--seeds", "3", "--param", "optimizer.weight_decay=1e-3,1e-4", "--name"]
    assert onecycle(*words, "whole").exit_code == 0
    command = [sys.executable, "-m", "onecycle_cli", *words, "killed"]
    killed = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE)
    table = tmp_path / "runs" / "killed" / "sweep.csv"
    while killed.poll() is None and not (table.is_file() and len(table.read_text().splitlines()) > 2):
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert killed.returncode == -signal.SIGKILL
    before = len(table.read_text().splitlines())
    assert before < 7
    again = onecycle(*words, "killed")
    assert again.exit_code == 0, again.stderr
    for name in ("sweep.csv", "ranking.csv"):
        expected = (tmp_path / "runs" / "whole" / name).read_bytes()
        assert (tmp_path / "runs" / "killed" / name).read_bytes() == expected
    assert len(table.read_text().splitlines()) == 7


def test_a_sweep_grows_by_the_values_that_it_has_not(new_run: Callable, tiny: Tiny) -> None:
    run, recipe = new_run(), tiny({"schedule.epochs": 1})
    swept(SweepPlan(recipe, "train", DECAYS[:1], 1), run)
    started = RunDir(run.path / "weight_decay=1e-3,seed=0").facts["started"]
    grown = swept(SweepPlan(recipe, "train", DECAYS[::-1], 1), run)
    assert [row["weight_decay"] for row in grown.rows] == [1e-3, 1e-4]
    assert RunDir(run.path / "weight_decay=1e-3,seed=0").facts["started"] == started


def test_values_that_are_no_numbers_are_in_the_table_as_in_a_recipe(new_run: Callable, tiny: Tiny) -> None:
    run = new_run()
    legs = [
        {"schedule.legs": [1.0, 0.5, 0.5], "schedule.pct_start": None},
        {"schedule.legs": [0.5, 1, 0.5], "schedule.pct_start": None},
    ]
    swept(SweepPlan(tiny(), "train", legs, 1), run)
    assert pd.read_csv(run.path / "sweep.csv", keep_default_na=False)["legs"].tolist() == [
        "[1, 0.5, 0.5]",
        "[0.5, 1, 0.5]",
    ]


def test_a_cell_that_was_damaged_since_is_left_out_of_the_picture_alone(new_run: Callable, tiny: Tiny) -> None:
    run, plan = new_run(), SweepPlan(tiny({"schedule.epochs": 1}), "train", DECAYS, 1)
    before = swept(plan, run)
    (run.path / "weight_decay=1e-3,seed=0" / "epochs.csv").write_bytes(b"\xff\n")
    (run.path / "sweep.png").unlink()
    assert swept(plan, run).rows == before.rows
    assert (run.path / "sweep.png").is_file()
