import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pytest
import torch

Rivals = Callable[..., None]


@pytest.fixture
def script(module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script with a tiny task, one optimizer and one library that need no extra package."""
    rivals, tasks = module("rivals"), module("tasks")
    optimizers, finders = module("lr_free_optimizers"), module("library_finders")
    changes = {"schedule.epochs": 1, "data.batch_size": 128, "model.width": 0.25, "runtime.precision": "float32"}
    monkeypatch.setitem(tasks.TASKS, "tiny", tasks.Task("digits", changes, grid=(0.05, 0.1)))
    monkeypatch.setattr(rivals, "OWN_LOOP_TASKS", ("tiny",))

    def sgd(groups: list[dict[str, Any]], _: int) -> torch.optim.Optimizer:
        return torch.optim.SGD(groups, lr=1.0)

    some = {name: optimizers.LrFree("torch", "sgd", "lr", sgd, optimizers.constant(0.1)) for name in ("one", "other")}
    monkeypatch.setattr(optimizers, "OPTIMIZERS", some)
    found = "torch", ("this", "that"), lambda _: ({"this": 0.1, "that": None}, 7)
    monkeypatch.setattr(finders, "FINDERS", {"library": found})
    return rivals


@pytest.fixture
def rivals(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Rivals:
    """Measures the tiny task in this process."""

    def run(*words: str) -> None:
        monkeypatch.setattr(sys, "argv", ["rivals.py", *words, "--task", "tiny", "--processes", "1"])
        script.main()

    return run


def test_there_is_a_run_for_each_optimizer_and_seed(rivals: Rivals, results: Path) -> None:
    rivals("lr_free")
    rows = pd.read_csv(results / "suggestion" / "lr_free.csv")
    assert list(zip(rows.seed, rows.optimizer, strict=True)) == [(s, one) for s in (0, 1) for one in ("one", "other")]
    assert (rows.steps == 12).all()
    assert (rows.package == f"torch {version('torch')}").all()
    # The same optimizer twice: a run leaves nothing behind.
    assert (rows.groupby("seed").valid_loss.nunique() == 1).all()


def test_what_is_there_is_not_measured_again(rivals: Rivals, results: Path) -> None:
    rivals("lr_free")
    file = results / "suggestion" / "lr_free.csv"
    whole = pd.read_csv(file)
    whole.drop(index=1).to_csv(file, index=False)
    kept = file.read_text()
    rivals("lr_free")
    assert file.read_text().startswith(kept)
    key = ["seed", "optimizer", "valid_loss"]
    assert list(map(tuple, pd.read_csv(file)[key].values)) == list(map(tuple, whole[key].values[[0, 2, 3, 1]]))


def test_there_is_a_row_for_each_rule_of_a_library(rivals: Rivals, results: Path) -> None:
    rivals("own_loops")
    rivals("own_loops")
    rows = pd.read_csv(results / "suggestion" / "own_loops.csv")
    assert list(zip(rows.seed, rows.rule, strict=True)) == [(s, r) for s in (100, 101, 102) for r in ("this", "that")]
    assert list(rows.max_lr.isna()) == [False, True] * 3
    assert set(rows.steps) == {7}


def test_the_tasks_of_own_loops_have_nothing_that_a_plain_loop_lacks(module: Callable[[str], ModuleType]) -> None:
    names, tasks = module("rivals").OWN_LOOP_TASKS, module("tasks").TASKS
    assert len(names) == 17
    assert sum(tasks[name].part == "held out" for name in names) >= 5
    for task in map(tasks.get, names):
        assert not task.starts_trained
        assert not {"augmentation", "fine_tune", "optimizer.decay_norm_and_bias"} & set(task.changes)


def test_what_cannot_be_measured_is_left_out(
    script: ModuleType, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(script, "ONE_LR", {("one", "tiny"), ("other", "tiny")})
    script.lr_free("tiny", tmp_path, 0)
    assert not (results / "suggestion" / "lr_free.csv").exists()


def test_the_script_says_what_it_measures(start: Callable[..., str]) -> None:
    with pytest.raises(SystemExit) as end:
        start("suggestion/rivals.py", "--help")
    assert end.value.code == 0
