"""Every shipped recipe, shrunk to some seconds, runs: on images of its own kind, made here."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from onecycle_cli.recipe import load, shipped_names, shipped_path

Command = Callable[..., Result]

SHRUNK = {
    "data.image_size": 8,
    "data.padding": 1,
    "data.batch_size": 8,
    "model.width": 0.125,
    "schedule.epochs": 3,
    "schedule.pct_start": 0.4,
    "find_lr.num_steps": 12,
    "runtime.device": "cpu",
    "runtime.precision": "float32",
}


# torchvision's networks have one width, and stages have epochs of their own. Images of 8 pixels are a single one in
# its last layers: their training ends at losses from 0.3 to 0.7 by seed and rounding, those of 32 from 0.1 to 0.4.
FINE_TUNED = {
    "data.image_size": 32,
    "model.width": 1,
    "fine_tune.stages": "[{freeze_to: head, epochs: 1, max_lr: 0.01}, {epochs: 2}]",
}


# Slow tests: two seconds for each that differs from another in its schedule alone, and nine for the ResNet-18 of
# torchvision, from which tests/experiments/test_initial_weights.py starts too.
SLOW = [name for name in shipped_names() if name.startswith("cifar10-resnet56-") or name == "fine-tune"]
NAMES = [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in shipped_names()]


@pytest.mark.usefixtures("imagenet")
@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_recipe_trains_when_shrunk(onecycle: Command, image_folder: Callable, name: str) -> None:
    recipe = load(shipped_path(name))
    shrunk = SHRUNK | (FINE_TUNED if recipe.fine_tune else {})
    words = [f"{field}={value}" for field, value in shrunk.items()]
    if recipe.data.source != "digits":
        path = image_folder("train/a", "train/b", "test/a", "test/b", images=20)
        words += ["data.source=image_folder", f"data.path={path}"]
    else:
        words += ["data.batch_size=128"]
    settings = [word for setting in words for word in ("--set", setting)]
    max_lr = 0.005 if recipe.fine_tune else 0.05  # a network that is not fresh is upset by less
    result = onecycle("train", name, "--max-lr", max_lr, *settings, "--json")
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary["recipe"] == name
    kept = load(Path(summary["run"]) / "recipe.yaml")
    assert vars(kept.model) | {"width": None} == vars(recipe.model) | {"width": None}
    assert kept.optimizer == recipe.optimizer
    found = onecycle("find-lr", name, *settings)
    assert found.exit_code in (0, 4), found.stderr
