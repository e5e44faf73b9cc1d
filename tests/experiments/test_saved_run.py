"""Runs read from Python."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import onecycle_cli
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.saved_run import open_run
from onecycle_cli.run_dir.files import CONFUSION, EPOCHS, PER_CLASS, STEPS, WRONG, WRONG_COLUMNS
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.writing import to_csv

Command = Callable[..., object]


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return RunDir.create(tmp_path, command="train", recipe_name="r", recipe_yaml="", facts={"classes": ["a"]}, name="r")


def test_the_tables_and_the_result_of_a_run_are_values(onecycle: Command, tiny_digits: list[str]) -> None:
    onecycle("train", *tiny_digits, "--max-lr", "auto", "--name", "trained")
    run = onecycle_cli.open_run("runs/trained")
    assert run.path == onecycle_cli.open_run(Path("runs/trained")).path == Path("runs/trained")
    assert (run.command, run.status, repr(run)) == ("train", run.summary["status"], "open_run('runs/trained')")
    assert run.steps.columns.to_list() == ["step", "epoch", "lr", "momentum", "train_loss"]
    assert len(run.steps) == 24
    assert run.epochs.valid_accuracy.iloc[-1] == pytest.approx(run.summary["valid_accuracy"], rel=1e-8)
    assert len(run.lr_range) == 40
    assert run.recipe.schedule.max_lr == run.summary["max_lr"]
    assert (run.facts["classes"][0], run.cells) == ("0", [])


def test_the_cells_of_a_sweep_are_runs_too(onecycle: Command, tiny_digits: list[str]) -> None:
    words = ("--param", "model.dropout=0,0.5", "--epochs", 1, "--name", "swept")
    onecycle("sweep", *tiny_digits, *words)
    run = open_run("runs/swept")
    assert run.sweep.dropout.to_list() == [0, 0.5]
    assert set(run.ranking.dropout) == {0, 0.5}
    assert [len(cell.epochs) for cell in run.cells] == [1, 1]
    assert [cell.recipe.model.dropout_before_head for cell in run.cells] == [0, 0.5]


def test_a_run_that_goes_on_gives_the_rows_so_far(run: RunDir) -> None:
    with run.table(STEPS, ("step", "lr")) as table:
        assert open_run(run.path).steps.empty
        table.append([{"step": 0, "lr": 0.1 + 0.2}, {"step": 1, "lr": float("nan")}])
        with (run.path / STEPS).open("a") as file:
            file.write("2,0.")
        steps = open_run(run.path).steps
        assert (steps.step.to_list(), steps.lr.iloc[0]) == ([0, 1], pytest.approx(0.3))
    assert (open_run(run.path).status, open_run(run.path).summary) == ("running", {})


def test_a_table_that_is_not_there_is_named_with_those_that_are(run: RunDir) -> None:
    with pytest.raises(InputError, match=r"has no epochs\.csv: it is a run of train, running\.\nIt has no tables"):
        _ = open_run(run.path).epochs
    run.write_text(STEPS, "step\n")
    run.write_text(PER_CLASS, "class\n")
    with pytest.raises(InputError, match=r"It has steps, per_class\."):
        _ = open_run(run.path).ranking
    with pytest.raises(InputError, match="is not a run"):
        open_run("nowhere")


@pytest.mark.parametrize("written", [b"", b"step", b"a,b\n1,2,3\n1\n1,2,3,4\n", b"a\n\xff\n", b'a\n"\n'])
def test_a_damaged_table_is_told(run: RunDir, written: bytes) -> None:
    (run.path / EPOCHS).write_bytes(written)
    with pytest.raises(InputError, match=r"epochs\.csv is damaged"):
        _ = open_run(run.path).epochs


def test_classes_keep_their_names(run: RunDir) -> None:
    names = ["1", "007", "NA", "", "true", "a\nb", "\udcff", "中文"]
    run.write_text(PER_CLASS, to_csv(("class", "images", "recall"), [(name, 1, None) for name in names]))
    run.write_text(CONFUSION, to_csv(("true", *names), [(name, *range(8)) for name in names]))
    saved, written = open_run(run.path), [*names[:6], "\\xff", "中文"]
    assert saved.per_class["class"].to_list() == written
    assert saved.per_class.recall.isna().all()
    matrix = saved.confusion_matrix
    assert matrix.index.to_list() == matrix.columns.to_list() == written
    assert matrix.loc["true", "true"] == 4
    assert isinstance(matrix, pd.DataFrame)


def test_wrong_predictions_keep_the_names_of_classes_and_files(run: RunDir) -> None:
    rows = [
        ("007/1.png", "007", "NA", 0.9, 0.1, "NA"),
        ("x.png", "1", "2", 0.8, 0.2, "007"),
        ("5", "1", "2", 0.8, 0.2, ""),
    ]
    run.write_text(WRONG, to_csv(WRONG_COLUMNS, rows))
    table = open_run(run.path).wrong_predictions
    names = ["image", "true", "predicted", "file"]
    assert table[names].to_numpy().tolist() == [[*row[:3], row[5]] for row in rows]
    assert table["probability"].to_list() == [0.9, 0.8, 0.8]


def test_pandas_is_loaded_with_the_first_table() -> None:
    code = "import sys, onecycle_cli; onecycle_cli.open_run; print({'pandas', 'torch'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
