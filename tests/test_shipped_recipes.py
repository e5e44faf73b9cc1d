"""Every shipped recipe, shrunk to some seconds, runs: on images of its own kind, made here."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from onecycle_cli.recipe import load, shipped_names, shipped_path

Command = Callable[..., object]

SHRUNK = {
    "data.image_size": 8,
    "data.padding": 1,
    "data.batch_size": 8,
    "model.width": 0.125,
    "schedule.epochs": 3,
    "schedule.pct_start": 0.4,
    "find_lr.num_steps": 12,
}


@pytest.mark.parametrize("name", shipped_names())
def test_a_shipped_recipe_trains_when_shrunk(onecycle: Command, image_folder: Callable, name: str) -> None:
    recipe = load(shipped_path(name))
    words = [f"{field}={value}" for field, value in SHRUNK.items()]
    if recipe.data.source != "digits":
        path = image_folder("train/a", "train/b", "test/a", "test/b", images=20)
        words += ["data.source=image_folder", f"data.path={path}"]
    else:
        words += ["data.batch_size=128"]
    settings = [word for setting in words for word in ("--set", setting)]
    result = onecycle("train", name, "--max-lr", 0.05, *settings, "--json")
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary["recipe"] == name
    kept = load(Path(summary["run"]) / "recipe.yaml")
    assert kept.model.architecture == recipe.model.architecture
    assert kept.optimizer == recipe.optimizer
    found = onecycle("find-lr", name, *settings)
    assert found.exit_code in (0, 4), found.stderr
