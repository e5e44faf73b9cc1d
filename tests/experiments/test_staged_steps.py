"""The updates of a training, from any of its steps."""

from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch

from onecycle_cli.experiments.prepared_recipe import PreparedRecipe, prepare
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.staged_steps import StagedSteps
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")
STAGES = [{"freeze_to": "head", "epochs": 1, "max_lr": 0.2}, {"freeze_to": None, "epochs": 2, "max_lr": None}]
STAGED: dict[str, Any] = {"fine_tune": {"stages": STAGES, "train_frozen_norms": False}, "schedule.epochs": 3}


@pytest.fixture
def prepare_with(
    tmp_path: Path, tiny: Callable[..., Recipe]
) -> Callable[[dict[str, Any]], tuple[Recipe, PreparedRecipe, RunDir]]:
    def make(values: dict[str, Any]) -> tuple[Recipe, PreparedRecipe, RunDir]:
        recipe = tiny(values)
        text = to_yaml(recipe)
        run = RunDir.create(tmp_path, command="train", recipe_name="r", recipe_yaml=text, facts={}, name=None)
        return recipe, prepare(recipe, Session(run, CPU, silent)), run

    return make


@pytest.mark.parametrize("values", [{}, {"schedule.start_epoch": 1}, STAGED], ids=["plain", "later", "stages"])
def test_they_number_all_steps_of_the_recipe(prepare_with: Callable, values: dict[str, Any]) -> None:
    recipe, prepared, run = prepare_with(values)
    first = 12 * recipe.schedule.start_epoch
    steps = [step.step for step in StagedSteps(recipe, prepared, Session(run, CPU, silent)).since(first)]
    assert steps == list(range(first, 12 * recipe.schedule.epochs))


@pytest.mark.parametrize("at", [5, 12, 13, 36])
def test_restored_ones_go_on_where_the_state_was_taken(prepare_with: Callable, at: int) -> None:
    recipe, prepared, run = prepare_with(STAGED)
    updates = StagedSteps(recipe, prepared, Session(run, CPU, silent))
    steps = updates.since(0)
    list(islice(steps, at))
    state = {name: tensor.clone() for name, tensor in updates.trainer.state().items()}
    losses = [step.loss.item() for step in steps]
    other = StagedSteps(recipe, prepared, Session(run, CPU, silent))
    other.restore(at, state)
    assert [step.loss.item() for step in other.since(at)] == losses


def test_a_stage_is_told_where_it_begins_and_not_where_it_goes_on(prepare_with: Callable) -> None:
    recipe, prepared, run = prepare_with(STAGED)
    list(StagedSteps(recipe, prepared, Session(run, CPU, silent)).since(5))
    assert [note[:12] for note in run.facts["notes"]] == ["Stage 2 of 2"]


def test_a_checkpoint_of_a_version_that_renamed_torchvisions_layers_is_restored(prepare_with: Callable) -> None:
    network = {"source": "torchvision", "architecture": "resnet18"}
    recipe, prepared, run = prepare_with({"model": network, "data.channels": 3, "data.batch_size": 32})
    updates = StagedSteps(recipe, prepared, Session(run, CPU, silent))
    list(islice(updates.since(0), 1))
    own = {name: tensor.clone() for name, tensor in updates.trainer.state().items()}
    older = {"conv1": "stem.0", "bn1": "stem.1", "fc": "head", **{f"layer{n}": f"stages.{n - 1}" for n in range(1, 5)}}
    renamed = {}
    for name, tensor in own.items():
        kind, first, rest = name.split(".", 2) if name.startswith("model.") else (name, "", "")
        renamed[f"{kind}.{older[first]}.{rest}" if first else name] = tensor
    assert renamed.keys() != own.keys()
    other = StagedSteps(recipe, prepared, Session(run, CPU, silent))
    other.restore(1, renamed)
    assert all(torch.equal(tensor, own[name]) for name, tensor in other.trainer.state().items())
