"""`runs show`: everything about a run."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from onecycle_cli.cli.runs_show import size
from onecycle_cli.recipe import shipped_path
from onecycle_cli.run_dir.annotations import add_labels, add_note
from onecycle_cli.run_dir.run import RunDir

Command = Callable[..., Result]
RUNS = Path("runs")


@pytest.fixture
def shown(once: Callable, onecycle: Command, tiny_digits: list[str]) -> None:
    """A run of each command that is quick, by the command's name."""

    def make() -> None:
        onecycle("find-lr", *tiny_digits, "--name", "find-lr")
        onecycle("train", *tiny_digits, "--name", "train")
        onecycle("sweep-wd", *tiny_digits, "--name", "sweep-wd", "--weight-decays", "1e-3")
        onecycle("evaluate", "train", "--name", "evaluate")
        asked = {
            "find-lr": "find-lr digits --repeats 2",
            "train": "train digits --set model.width=0.25",
            "sweep-wd": "sweep-wd digits --weight-decays 1e-3",
            "evaluate": "evaluate train",
        }
        for name, words in asked.items():
            assert RunDir(RUNS / name).status == "finished"
            RunDir(RUNS / name).update(command_line=f"onecycle {words}")  # here, it is that of pytest

    once("runs to show", make)


def lines_of(result: Result) -> dict[str, str]:
    """The names and values of a page, until the first empty line."""
    assert result.exit_code == 0, result.output
    page = result.stdout.split("\n\n")[0].splitlines()
    return {name.strip(): value for name, _, value in (line.partition("  ") for line in page) if name.strip()}


def words_of(result: Result) -> dict[str, str]:
    return {name: value.strip() for name, value in lines_of(result).items()}


@pytest.mark.usefixtures("shown")
def test_a_training_has_settings_scores_files_and_what_to_do_with_it(onecycle: Command) -> None:
    page = words_of(onecycle("runs", "show", "train"))
    summary = json.loads((RUNS / "train/summary.json").read_text())
    assert page["run"] == "runs/train"
    assert page["command"].startswith("onecycle train digits --set model.width=0.25")
    assert "model.width 0.25 (shipped 1)" in page["recipe"]
    assert page["status"].startswith("finished after ")
    assert page["valid_accuracy"].startswith(f"{summary['valid_accuracy']:.4f}  (loss {summary['valid_loss']:.4f})")
    best = f"best {summary['best_valid_accuracy']:.4f} in epoch {summary['best_epoch']}"
    assert page["valid_accuracy"].endswith(best)
    assert page["diagnosis"].startswith(summary["diagnosis"]["rule"])
    assert page["images"] == "1,437 train, 360 valid, 10 classes"
    assert "float32" in page["machine"]
    assert "torch " in page["versions"]
    assert "model.safetensors" in page["files"]
    assert page["use"] == "onecycle evaluate runs/train"
    assert page["repeat"] == "onecycle train runs/train/recipe.yaml"
    assert "progress" not in page


@pytest.mark.usefixtures("shown")
def test_a_range_test_has_its_suggestion_with_band_and_confidence(onecycle: Command) -> None:
    page = words_of(onecycle("runs", "show", "find-lr"))
    found = json.loads((RUNS / "find-lr/suggestion.json").read_text())
    assert page["max_lr"].startswith(f"{found['max_lr']:g}, confidence {found['confidence']} ")
    assert page["best max_lr"].startswith(f"from {found['lowest_max_lr']:g} to {found['highest_max_lr']:g} ")
    assert page["why"] == found["reason"]
    assert page["use"] == "onecycle train runs/find-lr/recipe.yaml --max-lr-from runs/find-lr"
    assert page["repeat"] == "onecycle find-lr runs/find-lr/recipe.yaml --repeats 2"


@pytest.mark.usefixtures("shown")
def test_a_sweep_has_its_cells_and_its_table(onecycle: Command) -> None:
    result = onecycle("runs", "show", "sweep-wd")
    page = words_of(result)
    assert (page["weight_decay"], page["cells"]) == ("1e-3", "1: 1 finished")
    assert page["compare"] == "onecycle compare runs/sweep-wd"
    path = "runs/sweep-wd/weight_decay=1e-3"
    assert Path(path).is_dir()
    assert page["use"] == f"onecycle train {path}/recipe.yaml --max-lr-from {path}"
    table = result.stdout.split("\n\n")[1].splitlines()
    assert table[0].split()[0] == "weight_decay"
    assert table[1].split()[0] == "0.001"


@pytest.mark.usefixtures("shown")
def test_the_best_run_of_a_moved_sweep_is_where_it_is_now(onecycle: Command) -> None:
    sweep = RunDir(RUNS / "sweep-wd")
    sweep.write_json("summary.json", {"best_run": "/old/sweep-wd/weight_decay=1e-3"})
    assert words_of(onecycle("runs", "show", "sweep-wd"))["best run"] == "runs/sweep-wd/weight_decay=1e-3"


@pytest.mark.usefixtures("shown")
def test_a_cell_of_a_sweep_is_shown_as_what_it_is(onecycle: Command) -> None:
    page = words_of(onecycle("runs", "show", "sweep-wd/weight_decay=1e-3"))
    assert "optimizer.weight_decay 1e-3 (shipped 1e-4)" in page["recipe"]
    assert "confidence" in page["max_lr"]
    path = "runs/sweep-wd/weight_decay=1e-3"
    assert page["use"] == f"onecycle train {path}/recipe.yaml --max-lr-from {path}"
    RunDir(path).update(status="interrupted")
    page = words_of(onecycle("runs", "show", "sweep-wd/weight_decay=1e-3"))
    assert page["resume"].startswith("onecycle sweep-wd digits"), "the command of the sweep goes on with its cells"


@pytest.mark.usefixtures("shown")
def test_an_evaluation_has_its_accuracy_and_a_row_for_each_class(onecycle: Command) -> None:
    result = onecycle("runs", "show", "evaluate")
    page = words_of(result)
    assert page["scored"].startswith("360 images, ")
    assert page["accuracy"].startswith("0.")
    assert len(result.stdout.split("\n\n")[1].splitlines()) == 11


@pytest.mark.usefixtures("shown")
def test_an_interrupted_training_is_told_how_far_it_came_and_how_it_goes_on(onecycle: Command) -> None:
    run = RunDir(RUNS / "train")
    run.update(status="interrupted", files={})
    (run.path / "summary.json").unlink()
    page = words_of(onecycle("runs", "show", "train"))
    assert page["progress"].startswith("24 of 24 training steps, epoch 2 of 2, loss ")
    assert page["resume"] == "onecycle train --resume runs/train"
    assert "diagnosis" in page, "of the curves so far"
    for checkpoint in run.path.glob("checkpoint-*"):
        checkpoint.unlink()
    page = words_of(onecycle("runs", "show", "train"))
    assert "resume" not in page
    assert page["repeat"] == "onecycle train runs/train/recipe.yaml"


@pytest.mark.usefixtures("shown")
def test_a_running_training_is_told_where_it_runs(onecycle: Command) -> None:
    RunDir(RUNS / "train").resume()
    page = words_of(onecycle("runs", "show", "train"))
    assert page["status"].startswith("running, started ")
    assert ", process " in page["status"]
    assert page["watch"] == "onecycle runs watch"


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize(("status", "says"), [("diverged", "explain"), ("failed", "resume")])
def test_what_can_follow_depends_on_the_end(onecycle: Command, status: str, says: str) -> None:
    run = RunDir(RUNS / "train")
    run.update(status=status, error="The disk is full.\x1b[2J", notes=["A note."])
    add_labels(run, ["paper", "slow"])
    add_note(run, "Mine.")
    summary = run.summary | {"diverged_step": 7, "diverged_lr": 0.5, "valid_accuracy": None}
    run.write_json("summary.json", summary)
    result = onecycle("runs", "show", "train")
    page = words_of(result)
    assert says in page
    assert page["labels"] == "paper, slow"
    assert ": Mine.\n" in result.stdout
    assert page["diverged"] == "at step 7, lr 0.5"
    assert page["error"] == "The disk is full.\\x1b[2J"
    assert page["notes"] == "A note."


@pytest.mark.usefixtures("shown")
def test_json_has_all_of_it(onecycle: Command) -> None:
    page = json.loads(onecycle("runs", "show", "train", "--json").stdout)
    run = RunDir(RUNS / "train")
    assert (page["run"], page["does"], page["status"]) == ("runs/train", "train", "finished")
    assert page["facts"] == run.facts
    assert page["summary"] == run.summary
    assert page["next"]["use"] == "onecycle evaluate runs/train"
    assert {"field": "model.width", "there": 1.0, "here": 0.25} in page["changed"]
    sizes = {file["name"]: file["bytes"] for file in page["files"]}
    assert sizes == {path.name: path.stat().st_size for path in run.path.iterdir() if path.name[0] != "."}
    suggestion = json.loads(onecycle("runs", "show", "find-lr", "--json").stdout)["suggestion"]
    assert suggestion == RunDir(RUNS / "find-lr").read_json("suggestion.json")


@pytest.mark.usefixtures("shown")
@pytest.mark.parametrize("name", ["run.json", "summary.json", "suggestion.json", "recipe.yaml", "lr_range.csv"])
@pytest.mark.parametrize("written", [None, b"{", b"\xff", b"[]"])
def test_a_damaged_run_is_shown_as_far_as_it_can_be_read(
    onecycle: Command, at_terminal: Callable, name: str, written: bytes | None
) -> None:
    path = RUNS / "find-lr" / name
    path.unlink()
    if written is not None:
        path.write_bytes(written)
    result = onecycle("runs", "show", "find-lr")
    if (name, written) == ("run.json", None):
        assert result.exit_code == 2, "it is no run"
        return
    page = words_of(result)
    assert page["run"] == "runs/find-lr"
    assert "lr_range.png" in page["files"]
    if written is not None and name != "lr_range.csv":
        assert name in page["damaged"]
    code, screen = at_terminal("runs", "show", "find-lr")
    assert (code, "Traceback" in screen) == (0, False)
    assert json.loads(onecycle("runs", "show", "find-lr", "--json").stdout)["run"] == "runs/find-lr"


@pytest.mark.usefixtures("shown")
def test_a_damaged_table_is_told_on_the_page(onecycle: Command) -> None:
    RunDir(RUNS / "evaluate").update(files={})
    with (RUNS / "evaluate/per_class.csv").open("a") as file:
        file.write("short\n")
    result = onecycle("runs", "show", "evaluate")
    assert words_of(result)["damaged"] == "runs/evaluate/per_class.csv is damaged: a row is incomplete."
    assert "\n\n" not in result.stdout, "no table"


@pytest.mark.usefixtures("shown")
def test_a_value_of_another_type_costs_its_section_alone(onecycle: Command) -> None:
    RunDir(RUNS / "train").write_json("summary.json", {"max_lr": "many", "valid_accuracy": []})
    page = words_of(onecycle("runs", "show", "train"))
    assert "is damaged" in page["damaged"]
    assert "versions" in page


@pytest.mark.usefixtures("shown")
def test_at_a_terminal_of_24_lines_the_page_of_a_training_fits_with_its_curve(at_terminal: Callable) -> None:
    run = RunDir("runs/train")
    run.update(command_line="onecycle train digits")
    run.update(files={})
    shutil.copy(shipped_path("digits"), run.path / "recipe.yaml")  # nothing was changed
    balanced = {"valid_balanced_accuracy": run.summary["valid_accuracy"]}
    run.write_json("summary.json", run.summary | balanced | {"diagnosis": None})
    code, screen = at_terminal("runs", "show", "train")
    assert code == 0
    lines = screen.rstrip("\n").split("\n")
    assert len(lines) <= 23, "the prompt is the last one"
    assert all(len(line.rstrip()) <= 80 for line in lines)
    assert lines[0].startswith("loss   ⠒⠒ train_loss   o valid_loss")
    assert len(lines[: lines.index("")]) >= 8
    assert "⠒" not in at_terminal("runs", "show", "train", "--no-plot")[1]


@pytest.mark.usefixtures("shown")
def test_without_the_drawing_library_everything_else_is_shown(
    onecycle: Command, at_terminal: Callable, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotille", None)  # as where it is not installed
    monkeypatch.delitem(sys.modules, "onecycle_cli.figures.terminal", raising=False)
    result = onecycle("runs", "show", "train")
    assert (result.exit_code, result.stderr) == (0, ""), "in a pipe, nobody asks for it"
    code, screen = at_terminal("runs", "show", "train")
    assert code == 0
    assert "The curve could not be drawn: " in screen
    assert "valid_accuracy" in screen
    assert "could not be drawn" not in at_terminal("runs", "show", "train", "--no-plot")[1]


def test_a_run_that_is_not_there_is_told(onecycle: Command) -> None:
    result = onecycle("runs", "show", "nothing")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "runs/nothing is not a run" in result.stderr


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (9_960, "10 kB"), (999_600, "1.0 MB"), (2_500_000_000, "2.5 GB")],
)
def test_sizes_are_said_as_a_person_says_them(count: int, text: str) -> None:
    assert size(count) == text
