"""Cells in processes of their own."""

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

from onecycle_cli.experiments.cell_runs import run_cells
from onecycle_cli.experiments.cells import Cell, plan_cells, row_of
from onecycle_cli.experiments.session import Session
from onecycle_cli.progress import Report, silent
from onecycle_cli.recipe import Recipe, to_yaml, with_values
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")


def cells_of(recipe: Recipe, *variations: dict[str, Any]) -> list[Cell]:
    return plan_cells(recipe, variations, mode="train", precision="float32", repeats=1, source="digits")


def run_all(cells: list[Cell], sweep: RunDir, *, jobs: int = 1, report: Report = silent) -> None:
    run_cells(cells, Session(sweep, CPU, report), jobs=jobs, after_each=lambda: None)


def signal_workers() -> None:
    """As SLURM, which signals all processes of a job: the parent decides, and a worker does not end by itself."""
    for worker in multiprocessing.active_children():
        os.kill(worker.pid, signal.SIGUSR1)


@pytest.mark.parametrize("more", [[], pytest.param([{"seed": 2}], marks=pytest.mark.slow)])
def test_cells_side_by_side_leave_what_they_leave_one_after_another(
    new_sweep: Callable,
    two_splits: Recipe,
    more: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    cells = cells_of(two_splits, {"seed": 0}, {"data.batch_size": 2000}, *more)
    one, other = new_sweep(), new_sweep()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    Path("multiprocessing.py").write_text("raise SystemExit(1)")  # in the working folder: no module of Python
    late = Path("late").absolute()
    late.mkdir()
    (late / "sitecustomize.py").write_text("import atexit, time; atexit.register(time.sleep, 0.8)")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(late), os.environ.get("PYTHONPATH")))))
    told: list[object] = []

    def report(news: object) -> None:
        told.append(news)
        signal_workers()

    try:
        run_all(cells, one)
        run_all(cells, other, jobs=2, report=report)
    finally:
        torch.set_num_threads(threads)
    # Each end is told, though a process takes longer to end than until the next look at the cells, and none complains.
    assert {str(news).partition(",")[0] for news in told} >= {
        f"{cell.name}: {row_of(cell, other)['status']}" for cell in cells
    }
    assert "Exception ignored" not in capfd.readouterr().err
    assert [row_of(cell, one)["status"] for cell in cells] == ["finished", "failed", *("finished" for _ in more)]
    for cell in cells:
        rows = [row_of(cell, sweep) for sweep in (one, other)]
        assert [row.pop("seconds", None) is None for row in rows] == [cell is cells[1]] * 2
        assert rows[0] == rows[1]
    tables = [pd.read_csv(sweep.path / cells[0].name / "steps.csv") for sweep in (one, other)]
    assert tables[0].equals(tables[1])


@pytest.mark.slow
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
