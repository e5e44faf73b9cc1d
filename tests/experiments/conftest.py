"""What tests of experiments start from."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

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


@pytest.fixture
def make(tiny: Callable) -> Callable[..., RunDir]:
    """Makes the folder of a run up: its command, its status, and facts; nothing is run."""

    def new(
        command: str, status: str = "running", runs_dir: Path = Path("runs"), name: str = "r", **facts: Any
    ) -> RunDir:
        asked = {"command_line": f"onecycle {command} digits --name r"}
        run = RunDir.create(
            runs_dir, command=command, recipe_name="digits", recipe_yaml=to_yaml(tiny()), facts=asked | facts, name=name
        )
        run.update(status=status)
        return run

    return new
