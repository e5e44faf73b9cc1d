"""Builds the network of a recipe to look at it, without training it."""

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.own_code import must_be_trusted
from onecycle_cli.experiments.recipe_images import open_recipe_data
from onecycle_cli.models import OwnCode, build_model, network_arguments, network_in_words
from onecycle_cli.models.layer_table import LayerRow, layer_table
from onecycle_cli.progress import Report
from onecycle_cli.recipe import Recipe, frozen_groups, stages


def network_table(recipe: Recipe, classes: int | None, report: Report, code: OwnCode) -> tuple[str, list[LayerRow]]:
    """Returns the name of the recipe's network, and a row for each of its layers.

    `classes` is the number of classes; None: as many as the recipe's images have, which are opened. `code` says which
    code of the user may run. `InputError` if the network cannot be built, or lacks a layer group that the recipe names.
    """
    must_be_trusted(recipe, code)
    if classes is not None and classes < 2:
        raise InputError(f"--classes {classes} is too few: a classifier has at least two.", "Give 2 or more.")
    number = classes or len(open_recipe_data(recipe, report).classes)
    size, channels = recipe.data.image_size, recipe.data.channels
    model = build_model(recipe.model, channels=channels, classes=number, image_size=size, seed=recipe.seed, code=code)
    rows = layer_table(model, number)
    groups = tuple(dict.fromkeys(row.group for row in rows))
    for stage in stages(recipe):
        frozen_groups(stage, groups)
    arguments = network_arguments(recipe.model, channels=channels, classes=number, image_size=size)
    return network_in_words(arguments), rows
