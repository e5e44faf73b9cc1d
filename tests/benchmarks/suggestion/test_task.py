from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

Module = Callable[[str], ModuleType]


def test_two_underscores_stand_for_a_dot(module: Module) -> None:
    changes = module("task").changes(5, 64, 1e-4, model__width=0.5, augmentation={"mixup": 0.2})
    assert changes == {
        "schedule.epochs": 5,
        "data.batch_size": 64,
        "optimizer.weight_decay": 1e-4,
        "model.width": 0.5,
        "augmentation": {"mixup": 0.2},
    }


def test_the_format_of_images_leaves_mean_and_deviation_to_the_set(module: Module) -> None:
    task = module("task")
    recipe = task.Task(
        "cifar10-resnet8", task.changes(1, 8, 0.0, **task.image_fields(16, 1), **task.constant_momentum(0.9))
    ).resolved(Path())
    assert (recipe.data.image_size, recipe.data.channels, recipe.data.padding) == (16, 1, 2)
    assert recipe.data.mean is recipe.data.std is None
    assert recipe.schedule.max_momentum == recipe.schedule.base_momentum == 0.9


def test_a_grid_grows_by_four_tenths_of_a_decade(module: Module) -> None:
    assert module("task").lrs(0.01, 3) == pytest.approx((0.01, 0.0251, 0.0631))


def test_weights_to_start_from_are_trained_once(module: Module, tmp_path: Path) -> None:
    kept = tmp_path / "suggestion-start" / "start" / "model.safetensors"
    kept.parent.mkdir(parents=True)
    kept.touch()
    assert module("task").start_weights(tmp_path) == kept
