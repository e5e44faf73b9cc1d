"""Opens the images of a recipe, and counts them."""

import numpy as np

from onecycle_cli.data.file_names import with_file_names
from onecycle_cli.data.images import ImageData, Source, Split
from onecycle_cli.data.open_data import open_data, read_source
from onecycle_cli.errors import OnecycleError
from onecycle_cli.experiments.initial_weights import InitialWeights, load_initial_weights
from onecycle_cli.models import NO_CODE
from onecycle_cli.progress import Report
from onecycle_cli.recipe import Recipe
from onecycle_cli.recipe.data_fields import DataSettings


def interpolation_of(recipe: Recipe, start: InitialWeights | None) -> str:
    """Returns how the images of a recipe are resized: as it says, else as for the weights in `start`, else bilinear."""
    if recipe.data.interpolation is not None:
        return recipe.data.interpolation
    return (start.interpolation if start is not None else None) or "bilinear"


def open_recipe_data(
    recipe: Recipe,
    report: Report,
    start: InitialWeights | None = None,
    *,
    interpolation: str | None = None,
    source: Source | None = None,
    with_files: bool = False,
) -> ImageData:
    """Opens the images of a recipe; downloads or decodes them if needed.

    If the recipe has no mean, std or interpolation, those of the weights in `start` are used. `interpolation` is that
    of a trained model whose images are opened again. `source` has the images, if they are read already. With
    `with_files`, the splits know the names of their files.
    """
    mean, std = (start.mean, start.std) if start else (None, None)
    settings = _settings(recipe, interpolation or interpolation_of(recipe, start))
    if with_files:
        source = with_file_names(source or read_source(settings, report), settings, report)
    return open_data(settings, seed=recipe.seed, report=report, mean=mean, std=std, source=source)


def read_recipe_source(recipe: Recipe, report: Report, start: InitialWeights | None) -> Source:
    """Reads the images of a recipe before they are split, to open them elsewhere with `open_recipe_data`."""
    return read_source(_settings(recipe, interpolation_of(recipe, start)), report)


def _settings(recipe: Recipe, interpolation: str) -> DataSettings:
    return recipe.data.model_copy(update={"interpolation": interpolation})


def open_as_a_run_does(recipe: Recipe, report: Report) -> ImageData:
    """Opens the images of a recipe as a run does: with mean, std and interpolation of the weights it starts from.

    The weights are loaded for that, and downloaded if needed. If they cannot be loaded, a note says so. A function of
    the user is not run for them.
    """
    start = None
    if recipe.model.source != "module":
        try:
            start = load_initial_weights(recipe, report, NO_CODE)
        except OnecycleError as error:
            report(f"The images are opened without the weights that the recipe starts from: {error.what}")
    return open_recipe_data(recipe, report, start)


def image_counts(data: ImageData) -> dict[str, int | None]:
    """Returns the number of images in each split, in the form of `run.json`; None if there is no test split."""
    return {"train": len(data.train), "valid": len(data.valid), "test": len(data.test) if data.test else None}


def class_counts(split: Split, classes: int) -> list[int]:
    """Counts the images of each class; the index is the label."""
    counts: list[int] = np.bincount(split.labels, minlength=classes).tolist()
    return counts
