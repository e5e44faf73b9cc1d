"""Reading saved runs, whole or not, as they are compared."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from onecycle_cli.analysis.comparison import Run
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.compare import RESULTS, draw_comparison, read_run, read_runs
from onecycle_cli.experiments.range_test import find_lr
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train
from onecycle_cli.progress import Progress, silent
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")
Tiny = Callable[..., Recipe]


@pytest.fixture
def ran(tmp_path: Path, tiny: Tiny, copied: Callable) -> Callable[..., RunDir]:
    """Runs an experiment on the tiny digits; gives its folder. Without a report, the same is run once and copied."""

    def run_it(command: str, name: str, values: dict[str, Any] | None = None, report: Callable = silent) -> RunDir:
        if report is not silent:
            return anew(command, name, values, report)
        to = tmp_path / "runs" / name
        run, _ = copied(f"{command} {values}", lambda: (anew(command, name, values, report), None), to)
        return RunDir(run.path)

    def anew(command: str, name: str, values: dict[str, Any] | None, report: Callable) -> RunDir:
        recipe, facts = tiny(values), {"precision": "float32", "device": "cpu"}
        text = to_yaml(recipe)
        runs = tmp_path / "runs"
        run = RunDir.create(runs, command=command, recipe_name="digits", recipe_yaml=text, facts=facts, name=name)
        experiments: dict[str, Callable[..., Any]] = {"train": train, "find-lr": find_lr}
        with run.recording():
            result = experiments[command](recipe, Session(run, CPU, report))
            if command == "find-lr":
                run.finish("finished", vars(result))
        return run

    return run_it


def results(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run.results.items() if value is not None}


def test_a_short_run_of_a_tuning_is_what_its_tables_say(ran: Callable) -> None:
    folder = ran("train", "a")
    folder.update(command="tune")
    assert read_run(folder).command == "train"


def test_a_finished_training_has_its_summary_and_its_settings(ran: Callable) -> None:
    folder = ran("train", "a")
    run = read_run(folder)
    assert (run.path, run.command, run.status) == (str(folder.path), "train", "finished")
    assert run.settings["data.batch_size"] == 128
    assert run.settings["runtime.precision"] == "float32"
    assert "find_lr.num_steps" not in run.settings
    assert list(run.results) == list(RESULTS)
    known = {name: value for name, value in folder.summary.items() if name in RESULTS and value is not None}
    assert results(run) == known | {"seconds": folder.facts["seconds"]}


def test_a_training_that_goes_on_has_what_its_last_whole_epoch_reached(ran: Callable, tmp_path: Path) -> None:
    seen: list[Run] = []

    def report(news: Progress | str) -> None:
        if isinstance(news, Progress) and news.done in (1, 13):
            seen.append(read_run(RunDir(tmp_path / "runs" / "a")))

    folder = ran("train", "a", report=report)
    first_step, second_epoch = seen
    assert (first_step.status, results(first_step)) == ("running", {})
    epoch = pd.read_csv(folder.path / "epochs.csv").iloc[0]
    assert second_epoch.status == "running"
    assert second_epoch.results["epochs"] == 1
    assert second_epoch.results["max_lr"] == 0.1
    assert second_epoch.results["valid_accuracy"] == epoch["valid_accuracy"]
    assert second_epoch.results["best_valid_accuracy"] == epoch["valid_accuracy"]
    assert second_epoch.results["test_accuracy"] is None


def test_a_training_that_was_stopped_in_the_middle_of_a_row_has_the_rows_before(ran: Callable, tmp_path: Path) -> None:
    def interrupt(news: Progress | str) -> None:
        if isinstance(news, Progress) and news.done == 15:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ran("train", "a", report=interrupt)
    folder = RunDir(tmp_path / "runs" / "a")
    folder.update(files={})
    with (folder.path / "epochs.csv").open("a") as table:
        table.write("2,23,0.0")
    run = read_run(folder)
    assert (run.status, run.results["epochs"]) == ("interrupted", 1)
    assert draw_comparison(tmp_path / "a.png", [run], ["a"], silent) == []


def test_a_training_that_diverged_has_no_accuracy_and_can_be_drawn(ran: Callable, tmp_path: Path) -> None:
    values = {"schedule.max_lr": 1000.0, "schedule.div_factor": 1, "optimizer.weight_decay": 1.0}
    run = read_run(ran("train", "a", values))
    assert (run.status, run.results["valid_accuracy"], run.results["max_lr"]) == ("diverged", None, 1000)
    assert draw_comparison(tmp_path / "a.png", [run], ["a"], silent) == []


def test_a_sweep_stands_for_the_range_tests_inside_it(
    ran: Callable, onecycle: Callable, tiny_digits: list[str], tmp_path: Path
) -> None:
    onecycle("sweep-wd", *tiny_digits, "--weight-decays", "1e-3,1e-4", "--name", "swept")
    ran("find-lr", "found")
    runs, left_out = read_runs(tmp_path / "runs", ["swept", "found", "swept/weight_decay=1e-3"])
    assert [Path(run.path).name for run in runs] == ["weight_decay=1e-3", "weight_decay=1e-4", "found"]
    assert {run.command for run in runs} == {"find-lr"}
    assert left_out == []
    assert all(run.results["max_lr"] > 0 and run.results["confidence"] for run in runs)
    assert all(run.results["lowest_max_lr"] <= run.results["max_lr"] <= run.results["highest_max_lr"] for run in runs)
    assert all(0 <= run.results["expected_points_lost"] <= run.results["points_lost_90"] for run in runs)
    assert runs[1].settings == runs[2].settings
    assert runs[1].results["max_lr"] == runs[2].results["max_lr"]
    assert draw_comparison(tmp_path / "a.png", runs, ["a", "b", "c"], silent) == []


def test_the_momentum_of_a_range_test_is_the_one_it_ran_with(ran: Callable) -> None:
    assert read_run(ran("find-lr", "a")).settings["find_lr.momentum"] == 0.95
    assert read_run(ran("find-lr", "b", {"find_lr.momentum": 0.5})).settings["find_lr.momentum"] == 0.5


def test_a_run_of_another_version_is_read_though_its_recipe_is_none_any_more(ran: Callable) -> None:
    folder = ran("train", "old")
    recipe = folder.path / "recipe.yaml"
    folder.update(files={})
    recipe.write_text(recipe.read_text().replace("policy: one_cycle", "cycle: old").replace("  padding: 0\n", ""))
    assert read_run(folder).settings["schedule.cycle"] == "old"


def test_damaged_runs_are_named_and_the_others_read(ran: Callable, tmp_path: Path) -> None:
    runs_dir = tmp_path / "runs"
    whole = ran("train", "whole")
    spoil = {
        "run.json": ("{", "is not JSON"),
        "summary.json": ("{", "is not JSON"),
        "recipe.yaml": ("a: [", "not readable as YAML"),
    }
    for file, (text, _) in spoil.items():
        spoiled = ran("train", file)
        spoiled.update(files={})
        (spoiled.path / file).write_text(text)
    (ran("train", "gone").path / "recipe.yaml").unlink()
    (ran("train", "short").path / "run.json").write_text(json.dumps({"command": "train"}))
    table = ran("train", "table")
    table.update(files={})
    (table.path / "summary.json").unlink()
    (table.path / "epochs.csv").write_text("epoch,valid_accuracy\n1\n2,0.5\n")
    (runs_dir / "README.md").write_text("no run")
    runs, left_out = read_runs(runs_dir, [str(path) for path in sorted(runs_dir.iterdir())] + ["nowhere"])
    assert [run.path for run in runs] == [str(whole.path)]
    says = {Path(one.run).name: one.reason for one in left_out}
    assert {name: text in says[name] for name, (_, text) in spoil.items()} == dict.fromkeys(spoil, True)
    assert "recipe.yaml is missing" in says["gone"]
    assert "damaged: it has no recipe, started, status" in says["short"]
    assert "a row is incomplete" in says["table"]
    assert "README.md is not a run" in says["README.md"]
    assert "nowhere is not a run" in says["nowhere"]


def test_where_no_run_can_be_read_the_reasons_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a is not a run.*\n.*b is not a run"):
        read_runs(tmp_path, ["a", "b"])


def test_a_run_without_a_curve_is_left_out_of_the_picture(ran: Callable, tmp_path: Path) -> None:
    trained, empty = ran("train", "trained"), ran("find-lr", "empty")
    empty.update(files={})
    (empty.path / "lr_range.csv").write_text("seed,step,lr,momentum,train_loss,smoothed_loss\n0,0,")
    runs = [read_run(trained), read_run(empty)]
    (left_out,) = draw_comparison(tmp_path / "a.png", runs, ["a", "b"], silent)
    assert "empty has no curve to draw" in left_out.reason
    with pytest.raises(InputError, match="None of the runs has a curve"):
        draw_comparison(tmp_path / "b.png", runs[1:], ["b"], silent)
    assert not (tmp_path / "b.png").exists()


def test_a_training_older_than_balanced_accuracy_has_none_whole_or_not(ran: Callable, tmp_path: Path) -> None:
    folder = ran("train", "old")
    new = ("valid_balanced_accuracy", "valid_top5_accuracy", "test_balanced_accuracy", "test_top5_accuracy")
    summary = {name: value for name, value in folder.summary.items() if name not in new}
    folder.update(files={})
    folder.write_json("summary.json", summary)
    epochs = pd.read_csv(folder.path / "epochs.csv").drop(columns=[*new[:2]])
    epochs.to_csv(folder.path / "epochs.csv", index=False)
    accuracy = summary["valid_accuracy"]
    assert read_run(folder).results["valid_accuracy"] == accuracy
    (folder.path / "summary.json").unlink()
    run = read_run(folder)
    assert run.results["valid_accuracy"] == pytest.approx(accuracy)
    assert run.results["valid_balanced_accuracy"] is None
    assert draw_comparison(tmp_path / "a.png", [run], ["a"], silent) == []
