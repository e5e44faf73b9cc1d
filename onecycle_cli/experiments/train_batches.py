"""The training batches of a recipe: its sampler, its crop and flip, and its section `augmentation`."""

import torch
from torch import Tensor

from onecycle_cli.data.augmentation import Augmentation
from onecycle_cli.data.batches import Normalization, Share, TrainBatches
from onecycle_cli.data.color import ColorJitter
from onecycle_cli.data.erasing import RandomErasing
from onecycle_cli.data.images import Labels
from onecycle_cli.data.mixing import Mixing
from onecycle_cli.data.sampling import ClassMembers
from onecycle_cli.data.transforms import Transform, Transforms
from onecycle_cli.data.trivial_augment import TrivialAugment
from onecycle_cli.data.warping import RandomAffine, RandomResizedCrop
from onecycle_cli.recipe import Recipe
from onecycle_cli.recipe.augmentation_fields import AugmentationSettings
from onecycle_cli.training.ranks import ALONE, Ranks


def train_batches(
    recipe: Recipe,
    images: Tensor,
    labels: Tensor,
    normalization: Normalization,
    host_labels: Labels,
    ranks: Ranks = ALONE,
) -> TrainBatches:
    """Returns the training batches of a recipe.

    `images` and `labels` are those of `TrainBatches`, where they are kept; `host_labels` are the same labels as numpy,
    to sample from without a wait for the device. Several `ranks` divide each batch.
    """
    settings = recipe.data
    return TrainBatches(
        images,
        labels,
        normalization,
        Augmentation(settings.horizontal_flip, settings.random_crop, settings.padding, settings.padding_mode),
        settings.batch_size,
        settings.drop_last,
        recipe.seed,
        transforms=transforms_of(recipe.augmentation),
        members=ClassMembers.of(torch.from_numpy(host_labels)) if settings.sampler == "balanced" else None,
        share=Share(ranks.rank, ranks.count),
    )


def transforms_of(settings: AugmentationSettings | None) -> Transforms:
    """Returns the random transforms that the section `augmentation` describes, in the order of torchvision's reference.

    The order is crop, map, TrivialAugment, colours; then, on normalized images, erasing; then mixing.
    """
    if settings is None:
        return Transforms()
    of_levels: list[Transform] = []
    if crop := settings.random_resized_crop:
        of_levels.append(RandomResizedCrop(crop.scale, crop.ratio))
    if affine := settings.affine:
        of_levels.append(RandomAffine(affine.degrees, affine.translate, affine.scale, affine.shear))
    if settings.trivial_augment:
        of_levels.append(TrivialAugment())
    if color := settings.color_jitter:
        of_levels.append(ColorJitter(color.brightness, color.contrast, color.saturation, color.hue))
    erasing = settings.random_erasing
    of_images = (RandomErasing(erasing.probability, erasing.scale, erasing.ratio),) if erasing else ()
    mixing = Mixing(settings.mixup, settings.cutmix) if settings.mixup or settings.cutmix else None
    return Transforms(tuple(of_levels), of_images, mixing)
