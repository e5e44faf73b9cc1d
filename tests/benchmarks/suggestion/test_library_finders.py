from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

TINY: dict[str, Any] = {"data.batch_size": 256, "model.width": 0.25, "optimizer.weight_decay": 0.01}


@pytest.fixture
def script(module: Callable[[str], ModuleType]) -> ModuleType:
    return module("library_finders")


@pytest.fixture
def task(module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    measure, tasks = module("measure"), module("tasks")
    monkeypatch.setitem(tasks.TASKS, "tiny", tasks.Task("digits", TINY))
    prepared = measure.OneThread("tiny", tmp_path, 100)
    yield prepared
    prepared.close()


def test_a_loader_goes_on_with_the_next_epoch(script: ModuleType, task: Any) -> None:
    setting = script.Setting(task.recipe, task.prepared)
    batches = task.prepared.train
    seen = [labels for _ in range(2) for _, labels in setting.loader]
    drawn = [one.labels for one in islice(batches.drawn(0), 2 * len(setting.loader))]
    assert all(map(torch.equal, seen, drawn))
    assert len(seen) == len(drawn) == 2 * batches.steps_per_epoch


def test_the_optimizer_is_that_of_the_recipe(script: ModuleType, task: Any) -> None:
    setting = script.Setting(task.recipe, task.prepared)
    optimizer = setting.optimizer(setting.model.parameters())
    assert isinstance(optimizer, torch.optim.SGD)
    (group,) = optimizer.param_groups
    assert (group["lr"], group["momentum"], group["weight_decay"]) == (1e-7, 0.95, 0.01)


@pytest.mark.parametrize(
    ("library", "needed", "rules"),
    [
        ("fastai", "fastai", ["minimum", "slide", "steep", "valley"]),
        ("Lightning", "lightning", ["steepest"]),
        ("torch-lr-finder", "torch_lr_finder", ["steepest"]),
        ("ignite", "ignite", ["steepest"]),
    ],
)
def test_a_library_suggests_within_its_range(
    script: ModuleType, task: Any, library: str, needed: str, rules: list[str]
) -> None:
    pytest.importorskip(needed, reason="needs the extra benchmark")
    answers, steps = script.answers_of(library, script.Setting(task.recipe, task.prepared))
    assert sorted(answers) == rules == sorted(script.FINDERS[library][1])
    assert all(lr is None or 1e-8 <= lr <= 10 for lr in answers.values())
    assert 20 < steps <= 101
