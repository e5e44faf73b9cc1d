"""Networks and trainers from a recipe: the weights that the seed draws, and the parameters that a stage trains."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from onecycle_cli.data.batches import Normalization
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.recipe_images import open_recipe_data
from onecycle_cli.experiments.train_batches import train_batches
from onecycle_cli.experiments.trainers import initial_model, new_trainer
from onecycle_cli.models import NO_CODE
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe
from onecycle_cli.training.hardware import Hardware
from onecycle_cli.training.trainer import Trainer

CPU = Hardware(torch.device("cpu"), "float32")
Tiny = Callable[..., Recipe]


def made(recipe: Recipe) -> Trainer:
    data = open_recipe_data(recipe, silent)
    normalization = Normalization.of(data.mean, data.std, CPU.device)
    images, labels = torch.from_numpy(data.train.images), torch.from_numpy(data.train.labels)
    batches = train_batches(recipe, images, labels, normalization, data.train.labels)
    return new_trainer(recipe, data, None, batches, CPU, silent)


def staged(*stages: dict[str, Any]) -> dict[str, Any]:
    return {"fine_tune": {"stages": stages}, "schedule.epochs": sum(stage["epochs"] for stage in stages)}


def test_the_seed_of_the_recipe_draws_the_weights(tiny: Tiny) -> None:
    data = open_recipe_data(tiny(), silent)
    one, again, other = (initial_model(tiny({"seed": seed}), data, None, NO_CODE) for seed in (0, 0, 1))
    weights = [net.get_parameter("head.weight") for net in (one, again, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_the_last_stage_says_which_parameters_are_trained_and_with_which_share_of_the_lr(tiny: Tiny) -> None:
    head = made(tiny(staged({"epochs": 1}, {"freeze_to": "head", "epochs": 1})))
    assert [parameter.ndim for parameter in head.optimizer.parameters] == [2, 1]
    apart = made(tiny({"schedule.max_lr": [0.01, 0.1]}))
    assert apart.optimizer.lr_ratios is not None
    assert (min(apart.optimizer.lr_ratios), max(apart.optimizer.lr_ratios)) == pytest.approx((0.1, 1))


def test_class_weights_and_micro_batches_come_from_the_recipe(tiny: Tiny) -> None:
    plain, weighted = made(tiny()), made(tiny({"optimizer.class_weights": "balanced", "data.accumulate": 4}))
    assert (plain.loss.class_weights, plain.accumulate, weighted.accumulate) == (None, 1, 4)
    assert weighted.loss.class_weights is not None
    assert weighted.loss.class_weights.shape == (10,)


def test_a_layer_group_that_the_network_lacks_is_an_error_in_any_stage(tiny: Tiny) -> None:
    with pytest.raises(InputError, match="freeze_to layer9, but the network has the layer groups stem, layer1"):
        made(tiny(staged({"freeze_to": "layer9", "epochs": 1}, {"epochs": 1})))
