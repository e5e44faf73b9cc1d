"""The commands that can follow a run, from folders that are made up."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onecycle_cli.experiments.next_commands import best_run, command_to_repeat
from onecycle_cli.experiments.run_page import read_page
from onecycle_cli.recipe import to_yaml
from onecycle_cli.run_dir.run import RunDir

Make = Callable[..., RunDir]


@pytest.mark.parametrize(
    ("command", "status", "summary", "following"),
    [
        ("train", "running", {}, {"watch": "onecycle runs watch"}),
        ("train", "finished", {}, {"use": "onecycle evaluate runs/r", "repeat": "onecycle train runs/r/recipe.yaml"}),
        ("train", "collapsed", {}, {"explain": "onecycle diagnose runs/r"}),
        ("train", "failed", {}, {"repeat": "onecycle train runs/r/recipe.yaml"}),
        (
            "find-lr",
            "finished",
            {"max_lr": 0.1},
            {
                "use": "onecycle train runs/r/recipe.yaml --max-lr-from runs/r",
                "repeat": "onecycle find-lr runs/r/recipe.yaml",
            },
        ),
        ("find-lr", "finished", {"max_lr": None}, {"repeat": "onecycle find-lr runs/r/recipe.yaml"}),
        ("find-batch-size", "finished", {}, {"repeat": "onecycle find-batch-size runs/r/recipe.yaml"}),
        ("evaluate", "finished", {}, {}),
        ("tune", "finished", {}, {"use": "onecycle train runs/r/tuned.yaml"}),
        ("tune", "interrupted", {}, {"resume": "onecycle tune digits --name r"}),
        ("sweep", "failed", {}, {"resume": "onecycle sweep digits --name r"}),
        (
            "sweep",
            "finished",
            {"best_run": "runs/r/seed=0"},
            {"use": "onecycle train runs/r/seed=0/recipe.yaml", "compare": "onecycle compare runs/r"},
        ),
        ("sweep-wd", "finished", {"weight_decay": None}, {"compare": "onecycle compare runs/r"}),
    ],
)
def test_what_can_follow_is_a_command(
    make: Make, command: str, status: str, summary: dict[str, Any], following: dict[str, str]
) -> None:
    run = make(command, status)
    run.write_json("summary.json", summary)
    assert read_page(run).next == following


def test_a_checkpoint_is_gone_on_from(make: Make) -> None:
    run = make("train", "interrupted")
    (run.path / "checkpoint-7.safetensors").touch()
    assert read_page(run).next == {"resume": "onecycle train --resume runs/r"}


def test_code_of_a_person_has_to_be_trusted_again(make: Make) -> None:
    run = make("train", "finished", network_sha256="0")
    assert read_page(run).next["use"] == "onecycle evaluate runs/r --trust-code"


@pytest.mark.parametrize(
    ("asked", "repeated"),
    [
        ("--repeats 3 --budget 0.5", "--repeats 3 --budget 0.5"),
        ("--repeats=3 --seed 1 --verify", "--repeats=3 --verify"),
        ("--quiet", ""),
    ],
)
def test_a_range_test_is_repeated_with_the_options_that_are_in_no_recipe(make: Make, asked: str, repeated: str) -> None:
    run = make("find-lr", "failed")
    run.update(command_line=f"onecycle find-lr digits {asked}")
    assert read_page(run).next["repeat"] == f"onecycle find-lr runs/r/recipe.yaml {repeated}".strip()


@pytest.mark.parametrize(
    ("in_recipe", "auto", "steps", "options"),
    [
        (None, True, False, " --max-lr auto"),
        (None, False, False, " --max-lr auto"),
        (0.1, True, False, " --max-lr auto"),
        (0.1, True, True, ""),
        (0.1, False, False, ""),
    ],
)
def test_a_training_that_ended_in_its_range_test_is_repeated_with_one(
    make: Make, tiny: Callable, in_recipe: float | None, auto: bool, steps: bool, options: str
) -> None:
    run = make("train", "interrupted", auto=auto, network_sha256="0")
    run.write_text("recipe.yaml", to_yaml(tiny({"schedule.max_lr": in_recipe})))
    if steps:
        (run.path / "steps.csv").touch()
    again = f"onecycle train runs/r/recipe.yaml{options} --trust-code"
    assert read_page(run).next["repeat"] == command_to_repeat(run, run.facts) == again


def test_not_all_runs_can_be_repeated_by_their_recipe(make: Make) -> None:
    run = make("train", "failed")
    (run.path / "recipe.yaml").write_text("a: [")
    assert command_to_repeat(run, run.facts) == "onecycle train runs/r/recipe.yaml", "how it is damaged is told there"
    (run.path / "recipe.yaml").unlink()
    assert command_to_repeat(run, run.facts) is None
    assert command_to_repeat(run, run.facts | {"command": "tune"}) is None


def test_the_best_run_of_a_sweep_that_was_moved_is_the_one_in_it(make: Make) -> None:
    sweep = make("sweep", "finished")
    sweep.write_json("summary.json", {"best_run": "/old/runs/sweep/seed=1"})
    assert best_run(sweep, sweep.summary) == Path("/old/runs/sweep/seed=1"), "nothing else is known"
    make("sweep", "finished", sweep.path, "seed=1", cell="x")
    assert best_run(sweep, sweep.summary) == Path("runs/r/seed=1")
    assert read_page(sweep).next["use"] == "onecycle train runs/r/seed=1/recipe.yaml"
    assert [best_run(sweep, {"best_run": odd}) for odd in (None, "", 3)] == [None] * 3


@pytest.mark.parametrize(
    ("command", "asked", "options"), [("sweep", "--repeats 3", " --repeats 3"), ("tune", "--budget 10m", "")]
)
def test_a_range_test_in_a_sweep_is_repeated_alone(make: Make, command: str, asked: str, options: str) -> None:
    cell = make(command, "finished", cell="x")
    cell.update(command_line=f"onecycle {command} digits {asked}")
    (cell.path / "lr_range.csv").touch()
    assert command_to_repeat(cell, cell.facts) == f"onecycle find-lr runs/r/recipe.yaml{options}"


@pytest.mark.parametrize("asked", [None, "", "onecycle find-lr 'x"])
@pytest.mark.parametrize("command", ["train", "find-lr"])
def test_a_command_line_that_is_missing_or_cut_costs_its_options_alone(
    make: Make, command: str, asked: str | None
) -> None:
    run = make(command, "failed")
    run.update(command_line=asked)
    assert read_page(run).next["repeat"] == f"onecycle {command} runs/r/recipe.yaml"


def test_a_cell_goes_on_with_its_sweep_and_is_used_as_what_it_is(make: Make) -> None:
    sweep = make("sweep", "interrupted")
    cell = make("sweep", "interrupted", sweep.path, "cell", cell="x")
    assert (read_page(cell).does, read_page(cell).next) == ("train", {"resume": "onecycle sweep digits --name r"})
    cell.update(status="finished")
    (cell.path / "lr_range.csv").touch()
    page = read_page(cell)
    assert page.does == "find-lr"
    assert page.next == {"use": "onecycle train runs/r/cell/recipe.yaml --max-lr-from runs/r/cell"}


def test_a_sweep_of_a_stranger_goes_on_with_one_command_of_ours(make: Make) -> None:
    sweep = make("sweep", "interrupted")
    cell = make("sweep", "interrupted", sweep.path, "cell", cell="x")
    for line, then in {"onecycle sweep x; touch y": {"resume": "onecycle sweep 'x;' touch y"}, "touch y": {}}.items():
        sweep.update(command_line=line)
        assert [read_page(run).next for run in (sweep, cell)] == [then, then]
