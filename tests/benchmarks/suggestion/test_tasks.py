from collections.abc import Callable
from pathlib import Path
from types import ModuleType

Module = Callable[[str], ModuleType]


def test_every_task_is_a_recipe(module: Module, tmp_path: Path) -> None:
    for folder in ("cifar10", "mnist"):
        for split in ("train", "test"):
            for name in ("a", "b", "cat", "dog"):
                inner = tmp_path / folder / split / name
                inner.mkdir(parents=True)
                for number in range(2_500 if split == "train" else 1):
                    (inner / f"{number}.png").touch()
    for name, task in module("tasks").TASKS.items():
        recipe = task.resolved(tmp_path)
        assert len(task.grid) >= 9, name
        if task.images:
            kept = list(Path(recipe.data.path).glob("train/*/*"))
            assert len(kept) == task.images
            assert len(list(Path(recipe.data.path).glob("test/*/*"))) == (len(task.classes) or 4)
