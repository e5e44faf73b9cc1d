"""New runs in the test's own folder."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from onecycle_cli.run_dir.run import RunDir


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., RunDir]:
    def new(command: str = "train", recipe: str = "digits", name: str | None = None, **facts: Any) -> RunDir:
        return RunDir.create(
            tmp_path / "runs", command=command, recipe_name=recipe, recipe_yaml="a: 1\n", facts=facts, name=name
        )

    return new
