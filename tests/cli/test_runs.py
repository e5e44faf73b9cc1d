"""`runs`: the list of what was run."""

import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import get_args

import pandas as pd
import pytest
from typer.testing import Result

from onecycle_cli.cli.runs import STATUSES
from onecycle_cli.run_dir.run import RunDir, Status

Command = Callable[..., Result]


def test_runs_are_listed_with_status_and_result(onecycle: Command, tiny_digits: list[str]) -> None:
    assert onecycle("runs").stdout == "run  status  result\n"
    onecycle("find-lr", *tiny_digits, "--name", "found")
    onecycle("train", *tiny_digits, "--name", "trained")
    onecycle("sweep-wd", *tiny_digits, "--name", "swept", "--weight-decays", "1e-3")
    onecycle("evaluate", "trained", "--name", "scored")
    onecycle("find-lr", *tiny_digits, "--set", "data.batch_size=5000", "--name", "failed")
    lines = [line.split(maxsplit=2) for line in onecycle("runs").stdout.splitlines()[1:]]
    assert [line[0] for line in lines] == [f"runs/{n}" for n in ("found", "trained", "swept", "scored", "failed")]
    assert [line[1] for line in lines] == ["finished"] * 4 + ["failed"]
    assert [line[2].split()[0] for line in lines[:4]] == ["max_lr", "valid_accuracy", "weight_decay", "accuracy"]
    assert len(lines[4]) == 2


def test_runs_as_json_are_read_by_scripts(onecycle: Command, tiny_digits: list[str]) -> None:
    onecycle("train", *tiny_digits, "--name", "trained", "--runs-dir", "elsewhere")
    (run,) = json.loads(onecycle("runs", "--runs-dir", "elsewhere", "--json").stdout)
    summary = json.loads(Path("elsewhere/trained/summary.json").read_text())
    assert run["run"] == "elsewhere/trained"
    assert (run["command"], run["recipe"], run["status"]) == ("train", "digits", "finished")
    assert (run["result"], run["value"]) == ("valid_accuracy", summary["valid_accuracy"])


@pytest.fixture
def suggested(once: Callable, onecycle: Command, tiny_digits: list[str]) -> dict[str, float]:
    """A range test, a sweep of two values and a training that found its own max_lr: each max_lr by its run."""

    def make() -> dict[str, float]:
        onecycle("find-lr", *tiny_digits, "--name", "found")
        onecycle("sweep-wd", *tiny_digits, "--name", "swept", "--weight-decays", "1e-3,1e-4")
        auto = ("--max-lr", "auto", "--epochs", 3, "--batch-size", 64)
        onecycle("train", *tiny_digits, *auto, "--name", "trained")
        onecycle("train", *tiny_digits, "--name", "told")
        paths = [f"runs/{name}" for name in ("found", "swept/weight_decay=1e-3", "swept/weight_decay=1e-4", "trained")]
        return {path: json.loads(Path(path, "suggestion.json").read_text())["max_lr"] for path in paths}

    return once("suggestions of runs", make)


def test_for_a_recipe_each_suggestion_fits_or_has_its_differences_below(
    onecycle: Command, tiny_digits: list[str], suggested: dict[str, float]
) -> None:
    recipe, *settings = tiny_digits
    result = onecycle("runs", "--for", recipe, *settings, "--set", "seed=5")
    assert result.exit_code == 0
    lines = [line.split("  ") for line in result.stdout.splitlines()]
    cells = [[cell.strip() for cell in line if cell] for line in lines]
    found, heavy, light, trained = suggested
    assert cells == [
        ["run", "max_lr", "fits"],
        [found, f"{suggested[found]:g}", "yes"],
        [heavy, f"{suggested[heavy]:g}", "no"],
        ["optimizer.weight_decay: 1e-3 there, 1e-4 here"],
        [light, f"{suggested[light]:g}", "yes"],
        [trained, f"{suggested[trained]:g}", "no"],
        ["data.batch_size: 64 there, 128 here"],
    ]


@pytest.mark.usefixtures("suggested")
def test_for_a_longer_recipe_the_same_suggestions_fit_and_are_lower(onecycle: Command, tiny_digits: list[str]) -> None:
    recipe, *settings = tiny_digits

    def fitting(epochs: int) -> dict[str, float]:
        rows = onecycle("runs", "--for", recipe, *settings, "--set", f"schedule.epochs={epochs}", "--json").stdout
        return {row["run"]: row["max_lr"] for row in json.loads(rows) if row["fits"]}

    short, long = fitting(1), fitting(100)
    assert short.keys() == long.keys() != set()
    assert all(long[run] < short[run] for run in long)


def test_for_a_recipe_the_flags_change_it_as_they_do_for_train(
    onecycle: Command, tiny_digits: list[str], suggested: dict[str, float]
) -> None:
    recipe, *settings = tiny_digits

    def fitting(*flags: object) -> list[str]:
        rows = json.loads(onecycle("runs", "--for", recipe, *settings, *flags, "--json").stdout)
        assert [row["run"] for row in rows] == list(suggested)
        return [row["run"] for row in rows if row["fits"]]

    assert fitting("--batch-size", 64) == ["runs/trained"]
    assert fitting("--weight-decay", "1e-3") == ["runs/swept/weight_decay=1e-3"]
    assert fitting("--set", "runtime.precision=bfloat16") == []


def test_for_a_recipe_json_has_each_difference_with_both_values(
    onecycle: Command, tiny_digits: list[str], suggested: dict[str, float]
) -> None:
    recipe, *settings = tiny_digits
    rows = json.loads(onecycle("runs", "--for", recipe, *settings, "--json").stdout)
    heavy = rows[1]
    assert heavy.pop("started") < rows[2]["started"]
    assert heavy == {
        "run": "runs/swept/weight_decay=1e-3",
        "command": "sweep-wd",
        "recipe": "digits",
        "status": "finished",
        "max_lr": suggested["runs/swept/weight_decay=1e-3"],
        "fits": False,
        "differences": [{"field": "optimizer.weight_decay", "there": 1e-3, "here": 1e-4}],
    }


def test_for_a_recipe_of_other_images_the_differences_are_counted(onecycle: Command, tiny_digits: list[str]) -> None:
    onecycle("find-lr", *tiny_digits, "--name", "found")
    lines = onecycle("runs", "--for", "cifar10-resnet56").stdout.splitlines()
    (row,) = json.loads(onecycle("runs", "--for", "cifar10-resnet56", "--json").stdout)
    assert len(row["differences"]) > 10
    assert lines[2:] == [f"  {len(row['differences'])} settings differ: --json has them"]


def test_for_a_recipe_runs_that_are_not_readable_any_more_are_passed_over(
    onecycle: Command, tiny_digits: list[str]
) -> None:
    onecycle("find-lr", *tiny_digits, "--name", "old")
    old = Path("runs/old/suggestion.json")
    old.write_text(json.dumps({"max_lr": 0.1}))
    RunDir("runs/old").update(files={})
    Path("runs/old/recipe.yaml").write_text("name: of another version\n")
    result = onecycle("runs", "--for", "digits")
    assert (result.exit_code, result.stdout) == (0, "run  max_lr  fits\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--batch-size", "64"), "change a recipe, and none is named."),
        (("--set", "model.width=2"), "change a recipe, and none is named."),
        (("--for", "digit"), "digits"),
        (("--for", "digits", "--set", "model.widht=2"), "did you mean 'width'?"),
    ],
)
def test_a_recipe_that_cannot_be_is_told(onecycle: Command, words: tuple[str, ...], says: str) -> None:
    result = onecycle("runs", *words)
    assert result.exit_code == 2
    assert says in result.stderr


@pytest.fixture
def several(once: Callable, onecycle: Command, tiny_digits: list[str]) -> None:
    """A range test, two trainings and one that failed, a day apart."""

    def make() -> None:
        onecycle("find-lr", *tiny_digits, "--name", "found")
        onecycle("train", *tiny_digits, "--name", "good", "--set", "name=mine")
        onecycle("train", *tiny_digits, "--name", "better", "--epochs", 4)
        onecycle("train", *tiny_digits, "--set", "data.batch_size=5000", "--name", "failed")
        for day, name in enumerate(("found", "good", "better", "failed"), start=1):
            file = Path("runs", name, "run.json")
            file.write_text(json.dumps(json.loads(file.read_text()) | {"started": f"2026-03-0{day}T12:00:00+00:00"}))

    once("several runs", make)


@pytest.mark.usefixtures("several")
def test_the_list_is_filtered_and_sorted(onecycle: Command) -> None:
    def listed(*words: object) -> str:
        result = onecycle("runs", *words)
        assert result.exit_code == 0, result.stderr
        return " ".join(Path(line.split()[0]).name for line in result.stdout.splitlines()[1:])

    assert listed() == "found good better failed"
    assert listed("--reverse") == "failed better good found"
    assert listed("--recipe", "mine") == "good"
    assert listed("--recipe", "mine", "--recipe", "digits", "--status", "finished") == "found good better"
    assert listed("--since", "2026-03-03T12:00:00Z") == "better failed"
    assert listed("--since", "2h") == ""
    assert listed("--sort", "valid_accuracy", "--reverse") == "better good found failed"
    assert listed("--sort", "run") == "better failed found good"
    lines = onecycle("runs", "--sort", "epochs", "--recipe", "digits").stdout.splitlines()
    assert lines[0].split() == ["run", "status", "result", "epochs"]
    assert lines[1].split()[-1] == "4"
    lines = onecycle("runs", "--sort", "max_lr").stdout.splitlines()
    assert lines[0].split()[-1] == "max_lr"  # of a training it is not the result
    assert {line.split()[-1] for line in lines[1:] if "valid_accuracy" in line} == {"0.1"}
    assert onecycle("runs", "--sort", "valid_accuracy").stdout.splitlines()[0].split()[-1] == "result"
    onecycle("runs", "label", "good", "x")
    assert listed("--label", "x") == "good"


@pytest.mark.usefixtures("several")
def test_the_csv_table_has_every_single_value(onecycle: Command) -> None:
    text = onecycle("runs", "--csv", "-", "--sort", "valid_loss").stdout
    table = pd.read_csv(StringIO(text))
    summary = json.loads(Path("runs/better/summary.json").read_text())
    row = table.set_index("run").loc["runs/better"]
    assert row["valid_accuracy"] == pytest.approx(summary["valid_accuracy"])
    assert row["max_lr"] == summary["max_lr"]
    assert {"status", "command", "recipe", "started", "ended", "seed", "labels", "notes", "initial_lr"} <= {*table}
    assert onecycle("runs", "--csv", "runs.csv").stdout.startswith("run")
    assert sorted(Path("runs.csv").read_text()) == sorted(text)
    assert onecycle("runs", "--csv", "runs.csv").exit_code == 2
    only = onecycle("runs", "--csv", "-", "--recipe", "nobody").stdout
    assert only.splitlines() == text.splitlines()[:1]
    of_trainings = onecycle("runs", "--csv", "-", "--recipe", "mine").stdout.splitlines()[0].split(",")
    assert "initial_lr" not in of_trainings


@pytest.mark.usefixtures("several")
def test_json_has_everything(onecycle: Command) -> None:
    (row,) = json.loads(onecycle("runs", "--recipe", "mine", "--json").stdout)
    assert row["summary"] == RunDir("runs/good").summary
    assert (row["labels"], row["notes"], row["seed"]) == ([], [], 0)


@pytest.mark.usefixtures("several")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--sort", "valid_acuracy"), "valid_accuracy"),
        (("--status", "done"), "It is one of running, finished"),
        (("--since", "yesterday"), "--since yesterday is no time"),
        (("--label", "a,b"), "cannot be a label"),
        (("--for", "digits", "--since", "2h"), "Leave out the filters"),
        (("--for", "digits", "--sort", "max_lr"), "Leave out the filters"),
        (("--json", "label", "good", "x"), "--json in front of 'label'"),
        (("--runs-dir", "runs", "trash"), "`onecycle runs trash --help` lists its options"),
    ],
)
def test_what_cannot_be_listed_is_told(onecycle: Command, words: tuple[str, ...], says: str) -> None:
    result = onecycle("runs", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert says in result.stderr


def test_the_list_of_nothing_takes_any_column(onecycle: Command) -> None:
    assert onecycle("runs", "--sort", "anything").stdout == "run  status  result  anything\n"
    assert onecycle("runs", "--json", "--recipe", "anything").stdout == "[]\n"


def test_the_statuses_are_those_of_a_run() -> None:
    assert get_args(Status) == STATUSES


def test_a_run_of_another_version_or_a_damaged_summary_is_listed(onecycle: Command, trained: str) -> None:
    folder = Path("runs", trained)
    (folder / "summary.json").write_text('{"valid_accuracy": "high", "max_lr": [1]}')
    assert onecycle("runs").stdout.splitlines()[1] == "runs/trained  finished"
    RunDir(folder).update(command="dream")
    assert onecycle("runs").stdout.splitlines()[1] == "runs/trained  finished"
    (row,) = json.loads(onecycle("runs", "--json").stdout)
    assert (row["command"], row["result"], row["value"]) == ("dream", None, None)


def test_csv_and_json_cannot_both_be_standard_output(onecycle: Command) -> None:
    result = onecycle("runs", "--csv", "-", "--json")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--csv - and --json both print to standard output." in result.stderr
