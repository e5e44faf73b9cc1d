"""The runs inside a sweep: run once, whatever happens in between."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from onecycle_cli.data import digits
from onecycle_cli.errors import MachineError
from onecycle_cli.experiments.cell_runs import run_cells
from onecycle_cli.experiments.cell_work import Bench, is_free, locked, record_failure
from onecycle_cli.experiments.cells import Cell, Mode, is_done, plan_cells, row_of
from onecycle_cli.experiments.range_test import find_lr
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train
from onecycle_cli.progress import Progress, silent
from onecycle_cli.recipe import Recipe, to_yaml, with_values
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")
Tiny = Callable[..., Recipe]


def cells_of(recipe: Recipe, *variations: dict[str, Any], mode: Mode = "train", repeats: int = 1) -> list[Cell]:
    return plan_cells(recipe, variations, mode=mode, precision="float32", repeats=repeats, source="digits")


def run_all(cells: list[Cell], sweep: RunDir, *, report: Callable = silent) -> None:
    run_cells(cells, Session(sweep, CPU, report), after_each=lambda: None)


def test_a_cell_is_the_training_that_the_recipe_with_its_values_makes(new_sweep: Callable, tiny: Tiny) -> None:
    sweep = new_sweep()
    # The second of them goes on with the data and the network of the first; the others update it otherwise, or have
    # another one.
    variations: list[dict[str, Any]] = [
        {"seed": 0},
        {"seed": 1, "optimizer.weight_decay": 0.1},
        {"seed": 1, "schedule.max_lr": [1e-3, 0.1]},
        {"seed": 1, "fine_tune": {"stages": [{"freeze_to": "head", "epochs": 1}]}},
        {"seed": 1, "fine_tune": {"stages": [{"freeze_to": "layer2", "epochs": 1}]}},
        {"model.dropout": 0.5},
    ]
    recipe = tiny({"schedule.epochs": 1, "data.valid_fraction": 0.2})
    cells = cells_of(recipe, *variations)
    run_all(cells, sweep)
    for cell, values in zip(cells, variations, strict=True):
        alone = new_sweep("train")
        train(with_values(recipe, values), Session(alone, CPU, silent))
        assert (sweep.path / cell.name / "steps.csv").read_bytes() == (alone.path / "steps.csv").read_bytes()


def test_a_cell_of_mode_range_is_find_lr_with_its_repeats(new_sweep: Callable, tiny: Tiny) -> None:
    sweep = new_sweep()
    (cell,) = cells_of(tiny(), {"model.dropout": 0.1}, mode="range", repeats=2)
    run_all([cell], sweep)
    alone = new_sweep("find-lr")
    suggestion = find_lr(cell.recipe, Session(alone, CPU, silent), repeats=2)
    assert (sweep.path / cell.name / "lr_range.csv").read_bytes() == (alone.path / "lr_range.csv").read_bytes()
    row = row_of(cell, sweep)
    assert row["max_lr"] == suggestion.max_lr
    assert row["argmin_lr"] < row["reach_lr"]


def test_what_has_ended_is_never_run_twice(new_sweep: Callable, tiny: Tiny) -> None:
    sweep, told = new_sweep(), list[str]()
    cells = cells_of(tiny({"schedule.epochs": 1}), {"seed": 0}, {"seed": 1})
    run_all(cells[:1], sweep)
    first = (sweep.path / cells[0].name / "run.json").read_bytes()
    run_all(cells, sweep, report=told.append)
    assert (sweep.path / cells[0].name / "run.json").read_bytes() == first
    assert "1 of 2 cells were run before." in told
    assert all(is_done(cell, sweep) for cell in cells)


@pytest.mark.parametrize("status", ["running", "interrupted", "failed"])
def test_what_has_not_ended_is_run_again_and_kept(new_sweep: Callable, tiny: Tiny, status: str) -> None:
    sweep = new_sweep()
    (cell,) = cells_of(tiny({"schedule.epochs": 1}), {"seed": 0})
    left = sweep.inner(cell.name, to_yaml(cell.recipe))
    left.update(cell=cell.key, status=status)
    left.write_text("steps.csv", "half a table")
    run_all([cell], sweep)
    assert row_of(cell, sweep)["status"] == "finished"
    assert (sweep.path / f"{cell.name}.unfinished-1" / "steps.csv").read_text() == "half a table"


def test_a_cell_that_fails_is_a_row_and_the_next_one_runs(new_sweep: Callable, tiny: Tiny) -> None:
    sweep, told = new_sweep(), list[str]()
    # There are 1,437 training images.
    cells = cells_of(tiny({"schedule.epochs": 1}), {"data.batch_size": 2000}, {"data.batch_size": 64})
    run_all(cells, sweep, report=told.append)
    rows = [row_of(cell, sweep) for cell in cells]
    assert [row["status"] for row in rows] == ["failed", "finished"]
    assert "batch_size 2000 is larger than" in rows[0]["error"]
    assert any("failed: data.batch_size 2000" in text for text in told if isinstance(text, str))
    assert row_of(cells[0], sweep)["status"] == "failed"


def test_images_that_the_disk_does_not_give_end_the_sweep(
    new_sweep: Callable, two_splits: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As every error of the disk: the next cells read the same images."""
    scandir = os.scandir

    def failing(folder: Any) -> Any:
        if Path(folder).name == "b":
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", failing)
    with pytest.raises(MachineError, match="b cannot be listed: Permission denied"):
        run_all(cells_of(two_splits, {"seed": 0}, {"seed": 1}), new_sweep())


def test_a_bug_in_a_cell_is_kept_with_its_traceback(
    new_sweep: Callable, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(*_: object, **__: object) -> None:
        raise RuntimeError("no memory for this")

    monkeypatch.setattr(torch, "_foreach_add_", out_of_memory)  # of the update, after the check of the network
    sweep = new_sweep()
    (cell,) = cells_of(tiny(), {"seed": 0})
    run_all([cell], sweep)
    assert row_of(cell, sweep)["error"] == "no memory for this"
    assert "RuntimeError" in (sweep.path / cell.name / "traceback.txt").read_text()


def test_a_cell_without_memory_for_its_images_says_so_and_has_no_traceback(
    new_sweep: Callable, tiny: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("sklearn.datasets.load_digits", refuse)
    digits._parsed.cache_clear()  # another test may have read them
    sweep = new_sweep()
    (cell,) = cells_of(tiny(), {"seed": 0})
    told: list = []
    run_all([cell], sweep, report=told.append)
    assert row_of(cell, sweep)["status"] == "failed"
    assert any("failed: Out of memory: MemoryError" in text for text in told if isinstance(text, str))
    assert not (sweep.path / cell.name / "traceback.txt").exists()


def test_a_diverged_cell_is_a_result(new_sweep: Callable, tiny: Tiny) -> None:
    sweep = new_sweep()
    (cell,) = cells_of(tiny({"optimizer.decay_norm_and_bias": True}), {"schedule.max_lr": 1000.0})
    run_all([cell], sweep)
    assert row_of(cell, sweep)["status"] in ("diverged", "collapsed")
    assert is_done(cell, sweep)


def test_a_training_that_was_stopped_goes_on_from_its_checkpoint(new_sweep: Callable, easy: Tiny) -> None:
    sweep, told = new_sweep(), list[str]()
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
    whole = new_sweep()
    run_all([cell], whole)
    for name in ("steps.csv", "model.safetensors"):
        assert (sweep.path / cell.name / name).read_bytes() == (whole.path / cell.name / name).read_bytes()


def test_a_cell_that_another_process_has_is_left_to_it(new_sweep: Callable, tiny: Tiny) -> None:
    sweep = new_sweep()
    (cell,) = cells_of(tiny(), {"seed": 0})
    with locked(cell, sweep) as mine:
        assert mine
        assert not is_free(cell, sweep)
        assert not Bench().take(cell, Session(sweep, CPU, silent))
    assert is_free(cell, sweep)
    assert not (sweep.path / cell.name).exists()


def test_a_cell_whose_process_was_lost_is_a_row_that_says_so(new_sweep: Callable, tiny: Tiny) -> None:
    sweep = new_sweep()
    begun, other = cells_of(tiny(), {"seed": 0}, {"seed": 1})
    sweep.inner(begun.name, to_yaml(begun.recipe)).update(cell=begun.key)
    for cell in (begun, other):
        record_failure(cell, sweep, "lost")
        assert is_done(cell, sweep)
        assert row_of(cell, sweep)["error"] == "lost"
    assert not list(sweep.path.glob("*.unfinished-*"))
