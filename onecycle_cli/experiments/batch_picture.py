"""A picture of the first training batch of a recipe, as the network sees it."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from onecycle_cli.data.batches import Batch, Normalization
from onecycle_cli.experiments.drawing import draw_file
from onecycle_cli.experiments.recipe_images import open_as_a_run_does
from onecycle_cli.experiments.train_batches import train_batches
from onecycle_cli.progress import Report
from onecycle_cli.recipe import Recipe


def draw_batch(recipe: Recipe, path: Path, images: int, report: Report) -> int:
    """Draws up to `images` images of the first training batch of a recipe to a PNG file, and returns their number.

    They are augmented as in a training with the same seed, and the normalization is undone. Each has its class below;
    a mixed one has both classes with their shares. Decodes the images if needed. No network is built.
    """
    from onecycle_cli.figures.pictures import plot_images

    data = open_as_a_run_does(recipe, report)
    normalization = Normalization.of(data.mean, data.std, torch.device("cpu"))
    pixels, labels = torch.from_numpy(data.train.images), torch.from_numpy(data.train.labels)
    batches = train_batches(recipe, pixels, labels, normalization, data.train.labels)
    batch = batches.batch(next(batches.drawn(0)))
    shown = min(images, len(batch.labels))
    captions = captions_of(batch, data.classes)[:shown]
    drawn = pixels_of(batch, normalization)[:shown]
    title = f"{recipe.name}: {shown} of the {len(batch.labels)} images of the first training batch, seed {recipe.seed}"
    draw_file(path, report, lambda at: plot_images(at, title=title, images=drawn, captions=captions))
    return shown


def pixels_of(batch: Batch, normalization: Normalization) -> NDArray[np.uint8]:
    """Returns the images of a batch as they were before normalization, uint8 (B, height, width, channels)."""
    levels = batch.images.permute(0, 2, 3, 1) / normalization.scale + normalization.shift
    pixels: NDArray[np.uint8] = levels.round().clamp(0, 255).to(torch.uint8).numpy()
    return pixels


def captions_of(batch: Batch, classes: Sequence[str]) -> list[list[str]]:
    """Returns the lines of text for each image: its class, or its two classes with their shares, the larger first."""
    own = [classes[label] for label in batch.labels.tolist()]
    if batch.other_labels is None or batch.share is None:
        return [[name] for name in own]
    others, shares = [classes[label] for label in batch.other_labels.tolist()], batch.share.tolist()
    return [_mixed(*pair) for pair in zip(own, others, shares, strict=True)]


def _mixed(own: str, other: str, share: float) -> list[str]:
    if own == other:
        return [own]
    parts = sorted([(share, own), (1 - share, other)], reverse=True)
    return [f"{part:.0%} {name}" for part, name in parts]
