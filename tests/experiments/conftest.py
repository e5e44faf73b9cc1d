"""What tests of sweeps start from."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.run import RunDir


@pytest.fixture
def new_sweep(tmp_path: Path, tiny: Callable[..., Recipe]) -> Callable[[str], RunDir]:
    """Makes the folder of a new sweep."""

    def make(command: str = "sweep") -> RunDir:
        return RunDir.create(
            tmp_path, command=command, recipe_name="d", recipe_yaml=to_yaml(tiny()), facts={}, name=None
        )

    return make


@pytest.fixture
def two_splits(tiny: Callable[..., Recipe], image_folder: Callable[..., Path]) -> Recipe:
    """A recipe for a process of its own, which imports no scikit-learn: that gives the digits, and holds images out."""
    folder = image_folder("train/a", "train/b", "test/a", "test/b", images=8)
    images = {"data.source": "image_folder", "data.path": str(folder), "data.valid_fraction": 0.0}
    return tiny(images | {"data.batch_size": 4, "schedule.epochs": 1})
