"""The stages of a recipe, each as a recipe of one cycle. A recipe without `fine_tune` is its only stage."""

from collections.abc import Sequence
from typing import Any

from onecycle_cli.errors import InputError
from onecycle_cli.recipe.fields import Recipe
from onecycle_cli.recipe.learning_rates import scaled
from onecycle_cli.recipe.loading import with_values
from onecycle_cli.recipe.max_lr import MaxLr


def stages(recipe: Recipe) -> list[Recipe]:
    """Returns the recipe of each stage. Its `schedule` has the epochs and the max_lr of the stage."""
    if recipe.fine_tune is None:
        return [recipe]
    return [
        with_values(
            recipe,
            {
                "schedule.epochs": stage.epochs,
                "schedule.max_lr": recipe.schedule.max_lr if stage.max_lr is None else stage.max_lr,
                "fine_tune.stages": (stage.model_copy(update={"max_lr": None}),),
            },
        )
        for stage in recipe.fine_tune.stages
    ]


def last_stage(recipe: Recipe) -> Recipe:
    """Returns the recipe of the last stage: range tests use it, and a suggested max_lr is for it."""
    return stages(recipe)[-1]


def frozen_groups(stage: Recipe, groups: Sequence[str]) -> tuple[str, ...]:
    """Returns the layer groups that a stage does not train. `groups` are those of the network, in order.

    `InputError` if the network does not have the group that the stage begins to train at.
    """
    freeze_to = stage.fine_tune.stages[-1].freeze_to if stage.fine_tune is not None else None
    if freeze_to is None:
        return ()
    if freeze_to not in groups:
        raise InputError(
            f"fine_tune.stages has freeze_to {freeze_to}, but the network has the layer groups {', '.join(groups)}.",
            "Name one of them. `onecycle model show` lists their layers.",
        )
    return tuple(groups[: groups.index(freeze_to)])


def lacks_max_lr(recipe: Recipe) -> bool:
    """Whether any stage has no max_lr yet."""
    return any(stage.schedule.max_lr is None for stage in stages(recipe))


def with_max_lr(recipe: Recipe, max_lr: MaxLr) -> Recipe:
    """Returns `recipe` with `max_lr` in the last stage, and in all stages without a max_lr."""
    values: dict[str, Any] = {"schedule.max_lr": max_lr}
    if recipe.fine_tune is not None:
        *before, last = recipe.fine_tune.stages
        values["fine_tune.stages"] = (*before, last.model_copy(update={"max_lr": None}))
    return with_values(recipe, values)


def with_largest_max_lr(recipe: Recipe, largest: float) -> Recipe:
    """Returns `recipe` with the max_lr of the last stage scaled, so that the largest lr is `largest`.

    The ratios between the layer groups are kept. All stages without a max_lr get the same one.
    """
    return with_max_lr(recipe, scaled(last_stage(recipe).schedule.max_lr, largest))
