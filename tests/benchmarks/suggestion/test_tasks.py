import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

Module = Callable[[str], ModuleType]


def test_every_task_is_a_recipe(module: Module, tmp_path: Path) -> None:
    """Whatever its images are."""
    for name, task in module("tasks").TASKS.items():
        folder = replace(task, images=lambda data: data, starts_trained=False)
        recipe = (folder if task.images else task).resolved(tmp_path)
        assert recipe.optimizer.name == task.changes.get("optimizer.name", "sgd"), name
        assert recipe.data.batch_size == task.changes["data.batch_size"], name


def test_every_grid_has_nine_values_and_tails_beyond_its_ends(module: Module) -> None:
    for name, task in module("tasks").TASKS.items():
        assert len(task.grid) == 9, name
        ratios = [math.log10(b / a) for a, b in zip(task.grid, task.grid[1:], strict=False)]
        assert ratios == pytest.approx([0.4] * 8, abs=0.01), name
        low, lower, high = task.tails
        assert low < lower < task.grid[0] < task.grid[-1] < high


def test_every_part_has_tasks_of_both_optimizers(module: Module) -> None:
    plan_of, tasks = module("answers").plan_of, module("tasks").TASKS.values()
    found = {(task.part, plan_of(task).optimizer) for task in tasks}
    assert found == {
        (part, optimizer) for part in ("first", "fitted", "checked", "held out") for optimizer in ("sgd", "adamw")
    }
