"""Checks the images of a recipe before a training: the classes, the files that are not used, and unusual statistics."""

from dataclasses import dataclass

import numpy as np

from onecycle_cli.data.images import ImageData, Pixels, channel_statistics
from onecycle_cli.data.labelled_images import NOT_USED
from onecycle_cli.data.open_data import source_inventory
from onecycle_cli.experiments.kept_images import copies_note
from onecycle_cli.experiments.recipe_images import open_recipe_data
from onecycle_cli.progress import Progress, Report
from onecycle_cli.recipe import Recipe

NEARLY_CONSTANT = 2 / 255
"""The standard deviation, on a scale from 0 to 1, below which images count as constant: two of 256 levels."""


@dataclass(frozen=True)
class CheckedClass:
    """A class in a split: the number of its images, None for a folder that is no class, and what is skipped."""

    split: str
    class_name: str
    images: int | None
    skipped: str


@dataclass(frozen=True)
class Measured:
    """The images of a recipe, their statistics by channel on a scale from 0 to 1, and remarks on unusual ones."""

    data: ImageData
    mean: tuple[float, ...]
    std: tuple[float, ...]
    remarks: list[str]


def check_files(recipe: Recipe) -> list[CheckedClass]:
    """Lists the classes of each split, and every file and folder that is not used.

    Nothing is decoded or downloaded. cifar10 and digits have no rows. `MachineError` if a download is missing or
    damaged.
    """
    found = source_inventory(recipe.data)
    if found is None:
        return []
    inside: dict[tuple[str, str], list[str]] = {key: [] for key in found.counts}
    outside = []
    for one in found.skipped:
        if (one.split, one.class_name) in inside:
            inside[one.split, one.class_name].append(str(one))
        else:
            outside.append(CheckedClass(one.split, one.class_name, None, str(one)))
    rows = [CheckedClass(*key, images, "; ".join(inside[key])) for key, images in found.counts.items()]
    return [*rows, *outside]


def measure_images(recipe: Recipe, report: Report) -> Measured:
    """Decodes the images of a recipe, if they are not cached, and measures them.

    Skipped files are not among the remarks; `check_files` lists them.
    """
    notes: list[str] = []

    def told(news: Progress | str) -> None:
        if isinstance(news, str):
            notes.append(news)
        else:
            report(news)

    data = open_recipe_data(recipe, told)
    mean, std = channel_statistics(data.train.images)
    remarks = [text for text in notes if not text.startswith(NOT_USED)]
    if max(std) < NEARLY_CONSTANT:
        remarks.append(f"The training images are nearly constant: the largest standard deviation is {max(std):.4f}.")
    if plain := _single_coloured(data.train.images):
        remarks.append(f"{plain:,} of {len(data.train):,} training images are of a single colour.")
    if copies := copies_note(data):
        remarks.append(copies)
    return Measured(data, mean, std, remarks)


def _single_coloured(images: Pixels) -> int:
    found = 0
    for start in range(0, len(images), 1024):
        block = images[start : start + 1024]
        found += int(np.all(block.min((1, 2)) == block.max((1, 2)), axis=1).sum())
    return found
