"""The runs inside a sweep: run once, whatever happens in between."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest
import torch

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.cells import Cell, Mode, ended, fingerprint, plan_cells, row_of, run_cells
from onecycle_cli.experiments.range_test import find_lr
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train
from onecycle_cli.progress import Progress, silent
from onecycle_cli.recipe import Recipe, to_yaml, with_values
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")
Tiny = Callable[..., Recipe]


@pytest.fixture
def new_run(tmp_path: Path, tiny: Tiny) -> Callable[[str], RunDir]:
    def make(command: str = "sweep") -> RunDir:
        return RunDir.create(
            tmp_path, command=command, recipe_name="d", recipe_yaml=to_yaml(tiny()), facts={}, name=None
        )

    return make


def cells_of(recipe: Recipe, *variations: dict[str, Any], mode: Mode = "train", repeats: int = 1) -> list[Cell]:
    return plan_cells(recipe, variations, mode=mode, precision="float32", repeats=repeats, source="digits")


def run_all(cells: list[Cell], sweep: RunDir, *, jobs: int = 1, report: Callable = silent) -> None:
    run_cells(cells, Session(sweep, CPU, report), jobs=jobs, after_each=lambda: None)


def test_a_cell_is_the_training_that_the_recipe_with_its_values_makes(new_run: Callable, tiny: Tiny) -> None:
    sweep = new_run()
    # The second of them goes on with the data and the network of the first; the others update it otherwise, or have
    # another one.
    variations: list[dict[str, Any]] = [
        {"seed": 0},
        {"seed": 1, "optimizer.weight_decay": 0.1},
        {"seed": 1, "schedule.max_lr": [1e-3, 0.1]},
        {"seed": 1, "fine_tune": {"stages": [{"freeze_to": "head", "epochs": 1}]}},
        {"seed": 1, "fine_tune": {"stages": [{"freeze_to": "layer3", "epochs": 1}]}},
        {"model.dropout": 0.5},
    ]
    recipe = tiny({"schedule.epochs": 1, "data.valid_fraction": 0.2})
    cells = cells_of(recipe, *variations)
    run_all(cells, sweep)
    for cell, values in zip(cells, variations, strict=True):
        alone = new_run("train")
        train(with_values(recipe, values), Session(alone, CPU, silent))
        assert (sweep.path / cell.name / "steps.csv").read_bytes() == (alone.path / "steps.csv").read_bytes()


def test_a_cell_of_mode_range_is_find_lr_with_its_repeats(new_run: Callable, tiny: Tiny) -> None:
    sweep = new_run()
    (cell,) = cells_of(tiny(), {"model.dropout": 0.1}, mode="range", repeats=2)
    run_all([cell], sweep)
    alone = new_run("find-lr")
    suggestion = find_lr(cell.recipe, Session(alone, CPU, silent), repeats=2)
    assert (sweep.path / cell.name / "lr_range.csv").read_bytes() == (alone.path / "lr_range.csv").read_bytes()
    row = row_of(cell, sweep)
    assert row["max_lr"] == suggestion.max_lr
    assert row["argmin_lr"] < row["reach_lr"]


def test_what_has_ended_is_never_run_twice(new_run: Callable, tiny: Tiny) -> None:
    sweep, told = new_run(), list[str]()
    cells = cells_of(tiny({"schedule.epochs": 1}), {"seed": 0}, {"seed": 1})
    run_all(cells[:1], sweep)
    first = (sweep.path / cells[0].name / "run.json").read_bytes()
    run_all(cells, sweep, report=told.append)
    assert (sweep.path / cells[0].name / "run.json").read_bytes() == first
    assert "1 of 2 cells were run before." in told
    assert all(ended(cell, sweep) for cell in cells)


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_what_has_not_ended_is_run_again_and_kept(new_run: Callable, tiny: Tiny, status: str) -> None:
    sweep = new_run()
    (cell,) = cells_of(tiny({"schedule.epochs": 1}), {"seed": 0})
    left = sweep.inner(cell.name, to_yaml(cell.recipe))
    left.update(cell=cell.key, status=status)
    left.write_text("steps.csv", "half a table")
    run_all([cell], sweep)
    assert row_of(cell, sweep)["status"] == "finished"
    assert (sweep.path / f"{cell.name}.unfinished-1" / "steps.csv").read_text() == "half a table"


def test_a_cell_that_fails_is_a_row_and_the_next_one_runs(new_run: Callable, tiny: Tiny) -> None:
    sweep, told = new_run(), list[str]()
    # There are 1,437 training images.
    cells = cells_of(tiny({"schedule.epochs": 1}), {"data.batch_size": 2000}, {"data.batch_size": 64})
    run_all(cells, sweep, report=told.append)
    rows = [row_of(cell, sweep) for cell in cells]
    assert [row["status"] for row in rows] == ["failed", "finished"]
    assert "batch_size 2000 is larger than" in rows[0]["error"]
    assert any("failed: data.batch_size 2000" in text for text in told if isinstance(text, str))
    assert ended(cells[0], sweep) is None


def test_a_bug_in_a_cell_is_kept_with_its_traceback(
    new_run: Callable, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object, **__: object) -> None:
        raise RuntimeError("no memory for this")

    monkeypatch.setattr(torch, "_foreach_add_", out_of_memory)  # of the update, after the check of the network
    sweep = new_run()
    (cell,) = cells_of(tiny(), {"seed": 0})
    run_all([cell], sweep)
    assert row_of(cell, sweep)["error"] == "no memory for this"
    assert "RuntimeError" in (sweep.path / cell.name / "traceback.txt").read_text()


def test_a_diverged_cell_is_a_result(new_run: Callable, tiny: Tiny) -> None:
    sweep = new_run()
    (cell,) = cells_of(tiny({"optimizer.decay_norm_and_bias": True}), {"schedule.max_lr": 1000.0})
    run_all([cell], sweep)
    assert row_of(cell, sweep)["status"] in ("diverged", "collapsed")
    assert ended(cell, sweep)


@pytest.fixture
def two_splits(tiny: Tiny, image_folder: Callable[..., Path]) -> Recipe:
    """A recipe for a process of its own, which imports no scikit-learn: that gives the digits, and holds images out."""
    folder = image_folder("train/a", "train/b", "test/a", "test/b", images=8)
    images = {"data.source": "image_folder", "data.path": str(folder), "data.valid_fraction": 0.0}
    return tiny(images | {"data.batch_size": 4, "schedule.epochs": 1})


def signal_workers(_: object) -> None:
    """As SLURM, which signals all processes of a job: the parent decides, and a worker does not end by itself."""
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGUSR1)


@pytest.mark.parametrize("more", [[], pytest.param([{"seed": 2}], marks=pytest.mark.slow)])
def test_cells_side_by_side_leave_what_they_leave_one_after_another(
    new_run: Callable, two_splits: Recipe, more: list[dict[str, Any]]
) -> None:
    cells = cells_of(two_splits, {"seed": 0}, {"data.batch_size": 2000}, *more)
    one, other = new_run(), new_run()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run_all(cells, one)
        run_all(cells, other, jobs=2, report=signal_workers)
    finally:
        torch.set_num_threads(threads)
    assert [row_of(cell, one)["status"] for cell in cells] == ["finished", "failed", *("finished" for _ in more)]
    for cell in cells:
        rows = [row_of(cell, sweep) for sweep in (one, other)]
        assert [row.pop("seconds", None) is None for row in rows] == [cell is cells[1]] * 2
        assert rows[0] == rows[1]
    tables = [pd.read_csv(sweep.path / cells[0].name / "steps.csv") for sweep in (one, other)]
    assert tables[0].equals(tables[1])


def test_two_cells_that_would_be_called_alike_have_folders_of_their_own(tiny: Tiny) -> None:
    one, other = cells_of(tiny(), {"description": "a b"}, {"description": "a_b"})
    assert one.name != other.name


def test_a_cell_that_is_no_recipe_is_refused_before_any_is_run(tiny: Tiny) -> None:
    with pytest.raises(InputError, match="digits: one field is wrong.*\n.*weight_decay=-1  optimizer.weight_decay"):
        cells_of(tiny(), {"optimizer.weight_decay": 0.1}, {"optimizer.weight_decay": -1.0})


@pytest.mark.parametrize(
    ("field", "value", "changes"),
    [
        ("optimizer.weight_decay", 0.5, True),
        ("schedule.epochs", 9, True),
        ("find_lr.num_steps", 60, True),
        ("seed", 7, True),
        ("fine_tune", {"stages": [{"epochs": 2}]}, True),
        ("name", "other", False),
        ("runtime.log_every", 3, False),
    ],
)
def test_a_key_changes_with_what_the_result_depends_on(tiny: Tiny, field: str, value: object, changes: bool) -> None:
    (one,), (other,) = cells_of(tiny(), {}), cells_of(tiny({field: value}), {})
    assert (one.key != other.key) is changes


def test_a_key_changes_with_the_images_of_a_folder(tiny: Tiny, image_folder: Callable) -> None:
    folder = image_folder("cat", "dog")
    recipe = tiny({"data.source": "image_folder", "data.path": str(folder)})
    (before,) = cells_of(recipe, {})
    (folder / "cat" / "0.png").unlink()
    (after,) = cells_of(recipe, {})
    assert before.key != after.key


def test_a_fingerprint_does_not_depend_on_the_order() -> None:
    assert fingerprint({"a": 1, "b": [2.0]}) == fingerprint({"b": [2.0], "a": 1}) != fingerprint({"a": 1, "b": [2.5]})


def test_a_training_that_was_stopped_goes_on_from_its_checkpoint(new_run: Callable, easy: Tiny) -> None:
    sweep, told = new_run(), list[str]()
    recipe = easy({"schedule.max_lr": None, "runtime.checkpoint_seconds": 0})
    (cell,) = cells_of(recipe, {"seed": 0})

    def stop(news: object) -> None:
        if isinstance(news, Progress) and (news.work, news.done) == ("training", 7):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_all([cell], sweep, report=stop)
    run_all([cell], sweep, report=told.append)
    assert next(news.done for news in told if isinstance(news, Progress)) == 7  # once more, from the checkpoint before
    assert row_of(cell, sweep)["status"] == "finished"
    assert [path.name for path in sweep.path.glob("seed*")] == [cell.name]
    whole = new_run()
    run_all([cell], whole)
    for name in ("steps.csv", "model.safetensors"):
        assert (sweep.path / cell.name / name).read_bytes() == (whole.path / cell.name / name).read_bytes()


def test_cells_end_with_the_process_that_began_them(tmp_path: Path, two_splits: Recipe) -> None:
    recipe = tmp_path / "long.yaml"
    recipe.write_text(to_yaml(with_values(two_splits, {"schedule.epochs": 10_000})))
    command = [sys.executable, "-m", "onecycle_cli", "sweep", str(recipe), "--param", "model.width=0.25,0.5"]
    sweep = subprocess.Popen([*command, "--jobs", "2", "--name", "s"], stderr=subprocess.DEVNULL)
    while len(list((tmp_path / "runs" / "s").glob("*/steps.csv"))) < 2:
        assert sweep.poll() is None
        time.sleep(0.05)
    cells = psutil.Process(sweep.pid).children(recursive=True)
    sweep.kill()
    sweep.wait()
    _, left = psutil.wait_procs(cells, timeout=20)
    assert left == []
