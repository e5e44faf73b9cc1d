"""Builds networks and trainers from a recipe and its images."""

from collections.abc import Callable

import torch
from torch import nn

from onecycle_cli.analysis.class_balance import balanced_weights
from onecycle_cli.data.batches import TrainBatches, derived_seed
from onecycle_cli.data.images import ImageData
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.initial_weights import InitialWeights
from onecycle_cli.experiments.recipe_images import class_counts
from onecycle_cli.models import NO_CODE, OwnCode, build_model, layer_groups, on_device
from onecycle_cli.models.norms import is_norm
from onecycle_cli.recipe import Recipe, frozen_groups, last_stage, lr_ratios, stages
from onecycle_cli.training.hardware import Hardware
from onecycle_cli.training.network_check import check_network
from onecycle_cli.training.optimizers import build_optimizer
from onecycle_cli.training.ranks import ALONE, Ranks
from onecycle_cli.training.trainer import Trainer


def initial_model(recipe: Recipe, data: ImageData, start: InitialWeights | None, code: OwnCode) -> nn.Module:
    """Builds the network of a recipe for the classes of `data`, on the CPU, with the weights that it starts from."""
    model = build_model(
        recipe.model,
        channels=recipe.data.channels,
        classes=len(data.classes),
        image_size=recipe.data.image_size,
        seed=derived_seed(recipe.seed, "weights"),
        code=code,
    )
    if start is not None:
        start.put_into(model, data.classes)
    return model


def new_trainer(
    recipe: Recipe,
    data: ImageData,
    start: InitialWeights | None,
    train: TrainBatches,
    hardware: Hardware,
    report: Callable[[str], None],
    code: OwnCode = NO_CODE,
    ranks: Ranks = ALONE,
) -> Trainer:
    """Builds a new network with an optimizer, as a trainer on the batches `train`. Images are shared, not copied.

    `InputError` if the network cannot be trained (`check_network`).
    """
    model = on_device(initial_model(recipe, data, start, code), recipe.model.source, hardware.device)
    groups = tuple(layer_groups(model, len(data.classes)))
    for stage in stages(recipe):
        frozen_groups(stage, groups)  # a group that the network lacks is told before anything is trained
    for note in check_network(model, train.normalization(train.images[:2]), len(data.classes), hardware).notes:
        report(note)
    return trainer_of_stage(last_stage(recipe), model, train, data, hardware, report, ranks)


def trainer_of_stage(
    stage: Recipe,
    model: nn.Module,
    train: TrainBatches,
    data: ImageData,
    hardware: Hardware,
    report: Callable[[str], None],
    ranks: Ranks = ALONE,
) -> Trainer:
    """Returns the trainer of one stage: a new optimizer on `model`, for the parameters that the stage trains."""
    settings = stage.optimizer
    optimizer = build_optimizer(model, settings, lr_ratios=_trained(stage, model, len(data.classes)))
    weights = None
    if settings.class_weights == "balanced":
        counts = class_counts(data.train, len(data.classes))
        weights = torch.tensor(balanced_weights(counts), device=hardware.device)
    return Trainer(
        model,
        optimizer,
        train,
        label_smoothing=settings.label_smoothing,
        class_weights=weights,
        accumulate=stage.data.accumulate,
        ranks=ranks,
        sync_batch_norm=stage.runtime.sync_batch_norm,
        hardware=hardware,
        report=report,
    )


def _trained(stage: Recipe, model: nn.Module, classes: int) -> dict[str, float]:
    """Returns the parameters that a stage trains, by name, each with its layer group's share of the largest lr."""
    groups = layer_groups(model, classes)
    ratios, frozen = lr_ratios(stage.schedule.max_lr, tuple(groups)), frozen_groups(stage, tuple(groups))
    group_of = {name: group for group, names in groups.items() for name in names}
    norms = {id(p) for part in model.modules() if is_norm(part) for p in part.parameters()}
    spared = norms if stage.fine_tune is not None and stage.fine_tune.train_frozen_norms else set()
    trained = {
        name: ratios[group_of[name]]
        for name, p in model.named_parameters()
        if group_of[name] not in frozen or id(p) in spared
    }
    if not any(p.requires_grad for name, p in model.named_parameters() if name in trained):
        raise InputError(
            f"A stage with {', '.join(frozen) or 'nothing'} frozen has nothing to train: no other parameter of the "
            "network requires a gradient.",
            "Set freeze_to to an earlier layer group, or set requires_grad in the network.",
        )
    return trained
