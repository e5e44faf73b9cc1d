"""What every experiment starts from: images on the device, and fresh models, optimizers and batches from a recipe."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from onecycle_cli.analysis.class_balance import balanced_weights, dominant_class
from onecycle_cli.data.augmentation import Augmentation
from onecycle_cli.data.batches import FixedBatches, Normalization, TrainBatches, derived_seed
from onecycle_cli.data.images import ImageData, Split
from onecycle_cli.data.open_data import open_data
from onecycle_cli.experiments.initial_weights import InitialWeights, load_initial_weights
from onecycle_cli.experiments.session import Session
from onecycle_cli.models import build_model, layer_groups, network_arguments
from onecycle_cli.models.weights import Header
from onecycle_cli.progress import Progress, Report
from onecycle_cli.recipe import Recipe, last_stage, lr_ratios, relative
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.training.hardware import Hardware, configure_process
from onecycle_cli.training.optimizers import build_optimizer
from onecycle_cli.training.trainer import Trainer


@dataclass(frozen=True)
class PreparedRecipe:
    """The data of a recipe and its network on the device; `fresh` makes the network new for each training on it.

    `trainer` is that of the recipe's last stage.
    """

    hardware: Hardware
    data: ImageData
    start: InitialWeights | None
    trainer: Trainer
    train: TrainBatches
    valid: FixedBatches
    test: FixedBatches | None

    @property
    def classes(self) -> int:
        return len(self.data.classes)

    @property
    def train_counts(self) -> list[int]:
        """The training images of each class."""
        return class_counts(self.data.train, self.classes)

    @property
    def valid_counts(self) -> list[int]:
        """The validation images of each class."""
        return class_counts(self.data.valid, self.classes)


def open_recipe_data(recipe: Recipe, report: Report, start: InitialWeights | None = None) -> ImageData:
    """The images that a recipe names, downloaded or decoded where need be.

    Where the recipe has no mean or std of its own, they are those of the network that it starts from.
    """
    mean, std = (start.mean, start.std) if start else (None, None)
    return open_data(recipe.data, seed=recipe.seed, report=report, mean=mean, std=std)


def image_counts(data: ImageData) -> dict[str, int | None]:
    """Images in each split, as `run.json` keeps them."""
    return {"train": len(data.train), "valid": len(data.valid), "test": len(data.test) if data.test else None}


def class_counts(split: Split, classes: int) -> list[int]:
    """The images of each class, by label."""
    counts: list[int] = np.bincount(split.labels, minlength=classes).tolist()
    return counts


def prepare(recipe: Recipe, session: Session) -> PreparedRecipe:
    """Opens the data of a recipe and puts it on the device; what it found is kept with the run."""
    configure_process(session.hardware, deterministic=recipe.runtime.deterministic)
    settings = recipe.data
    start = load_initial_weights(recipe, session.report)
    data = open_recipe_data(recipe, _keeping_notes(session), start)
    normalization = Normalization.of(data.mean, data.std, session.hardware.device)

    def told(text: str) -> None:
        session.note(text)

    if start is not None:
        told(start.describe(recipe, data))

    def fixed(split: Split) -> FixedBatches:
        return FixedBatches(*_resident(split, session.hardware, told), normalization, settings.batch_size)

    augmentation = Augmentation(settings.horizontal_flip, settings.random_crop, settings.padding, settings.padding_mode)
    train = TrainBatches(
        *_resident(data.train, session.hardware, told),
        normalization,
        augmentation,
        settings.batch_size,
        settings.drop_last,
        recipe.seed,
    )
    if train.drops_single_image:
        told("The last batch of an epoch would be one image, which batch norm cannot use: it is left out.")
    if unequal := _unequal_classes(recipe, data):
        told(unequal)
    trainer = new_trainer(recipe, data, start, train, session.hardware, told)
    prepared = PreparedRecipe(
        session.hardware, data, start, trainer, train, fixed(data.valid), fixed(data.test) if data.test else None
    )
    describe(prepared, session.run)
    return prepared


def _keeping_notes(session: Session) -> Report:
    """A report that also keeps the notes among its news with the run."""

    def told(news: Progress | str) -> None:
        if isinstance(news, str):
            session.run.note(news)
        session.report(news)

    return told


def _unequal_classes(recipe: Recipe, data: ImageData) -> str | None:
    """A note on the largest class, where it is much larger than the others."""
    counts = class_counts(data.train, len(data.classes))
    largest = dominant_class(counts)
    if largest is None:
        return None
    name, share = data.classes[largest], counts[largest] / sum(counts)
    told = (
        f"Class '{name}' has {share:.1%} of the {sum(counts):,} training images, and a model that always answers "
        f"'{name}' is right on as many: balanced accuracy says more than accuracy."
    )
    if recipe.optimizer.class_weights == "balanced":
        return told
    return f"{told} --set optimizer.class_weights=balanced has all classes count the same."


def new_trainer(
    recipe: Recipe,
    data: ImageData,
    start: InitialWeights | None,
    train: TrainBatches,
    hardware: Hardware,
    report: Callable[[str], None],
) -> Trainer:
    """A network of its own with its optimizer, for the batches `train`; it shares the images with other trainers."""
    model = _initial_model(recipe, data, start).to(hardware.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return _trainer(last_stage(recipe), model, train, data, hardware, report)


def describe(prepared: PreparedRecipe, run: RunDir) -> None:
    """Keeps with the run what its images are, and how many threads a step of its training uses."""
    data = prepared.data
    run.update(step_threads=prepared.trainer.threads)
    counts = {"train": prepared.train_counts, "valid": prepared.valid_counts}
    run.update(classes=data.classes, images=image_counts(data), class_counts=counts, mean=data.mean, std=data.std)


def is_same_network(one: Recipe, other: Recipe) -> bool:
    """Whether what was prepared for one recipe serves the other too: the same images, network and kind of update.

    `fresh` sets the seed of weights and batches and the weight decay, and a schedule is given to each training. The
    images change with the seed where some of them are held out.
    """
    return _network_settings(one) == _network_settings(other)


def _network_settings(recipe: Recipe) -> dict[str, Any]:
    settings = recipe.model_dump(include={"data", "model", "optimizer", "fine_tune", "runtime"})
    del settings["optimizer"]["weight_decay"]
    for when in ("save_best", "log_every", "checkpoint_seconds"):
        del settings["runtime"][when]
    settings["relative lrs"] = relative(last_stage(recipe).schedule.max_lr)
    return settings | ({"seed": recipe.seed} if recipe.data.valid_fraction > 0 else {})


RESIDENT_SHARE = 0.5
"""Of the free memory of a GPU, that images may fill; activations want the rest."""


def _resident(split: Split, hardware: Hardware, report: Callable[[str], None]) -> tuple[Tensor, Tensor]:
    """The images and labels of a split on the device; on the host where a GPU has no room for them."""
    images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    if hardware.device.type == "cuda" and images.nbytes > RESIDENT_SHARE * torch.cuda.mem_get_info(hardware.device)[0]:
        report(f"{images.nbytes / 2**30:.1f} GiB of images stay on the host: the GPU has no room for them.")
        return images, labels
    return images.to(hardware.device), labels.to(hardware.device)


def fresh(recipe: Recipe, prepared: PreparedRecipe) -> Trainer:
    """The trainer of `prepared`, made new: weights and batches that follow from the recipe's seed, its weight decay."""
    weights = _initial_model(recipe, prepared.data, prepared.start).state_dict()
    prepared.trainer.reset(weights, recipe.optimizer.weight_decay, replace(prepared.train, seed=recipe.seed))
    return prepared.trainer


ALL_SEEDS = 2**32
"""There are so many of them; after the last comes the first."""

VALID_IMAGES = 2048
"""Validation images for a look on the way: the standard error of an accuracy of 0.5 is 1.1 points."""


def some_of(valid: FixedBatches, seed: int) -> FixedBatches:
    """The same few validation images for every look, drawn once."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "valid"))
    some = torch.randperm(len(valid.labels), generator=generator)[:VALID_IMAGES].to(valid.labels.device)
    return FixedBatches(valid.images[some], valid.labels[some], valid.normalization, valid.batch_size)


def _initial_model(recipe: Recipe, data: ImageData, start: InitialWeights | None) -> nn.Module:
    seed = derived_seed(recipe.seed, "weights")
    model = build_model(recipe.model, channels=recipe.data.channels, classes=len(data.classes), seed=seed)
    if start is not None:
        start.put_into(model, data.classes)
    return model


def stage_trainer(stage: Recipe, prepared: PreparedRecipe, report: Callable[[str], None]) -> Trainer:
    """Builds the trainer of one stage on the network of `prepared`, with a new optimizer and the current weights."""
    train = replace(prepared.train, seed=stage.seed)
    return _trainer(stage, prepared.trainer.model, train, prepared.data, prepared.hardware, report)


def _trainer(
    stage: Recipe,
    model: nn.Module,
    train: TrainBatches,
    data: ImageData,
    hardware: Hardware,
    report: Callable[[str], None],
) -> Trainer:
    settings = stage.optimizer
    optimizer = build_optimizer(model, settings, lr_ratios=_trained(stage, model))
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
        hardware=hardware,
        report=report,
    )


def _trained(stage: Recipe, model: nn.Module) -> dict[str, float]:
    """The parameters that a stage trains, by name, each with the share of the lr that its layer group has."""
    ratios = lr_ratios(stage.schedule.max_lr, stage.model.groups)
    group_of = {id(p): group for group, part in layer_groups(model).items() for p in part.parameters()}
    norms = {id(p) for part in model.modules() if isinstance(part, nn.BatchNorm2d) for p in part.parameters()}
    spared = norms if stage.fine_tune is not None and stage.fine_tune.train_frozen_norms else set()
    return {
        name: ratios[group_of[id(p)]]
        for name, p in model.named_parameters()
        if group_of[id(p)] not in stage.frozen or id(p) in spared
    }


def weights_header(recipe: Recipe, prepared: PreparedRecipe) -> Header:
    """What the saved weights of this recipe are of."""
    data = prepared.data
    arguments = network_arguments(recipe.model, channels=recipe.data.channels, classes=prepared.classes)
    return Header(arguments, data.classes, recipe.data.image_size, data.mean, data.std, data.value_range)
