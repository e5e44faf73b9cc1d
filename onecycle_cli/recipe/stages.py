"""The stages of a recipe: each is a recipe too, of one cycle. A recipe without `fine_tune` has one, itself."""

from typing import Any

from onecycle_cli.recipe.fields import Recipe
from onecycle_cli.recipe.learning_rates import scaled
from onecycle_cli.recipe.loading import with_values
from onecycle_cli.recipe.schedule_fields import MaxLr


def stages(recipe: Recipe) -> list[Recipe]:
    """The recipe of each stage: its schedule has the stage's own epochs and max_lr."""
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
    """The stage that a range test is of, and whose max_lr is the recipe's."""
    return stages(recipe)[-1]


def lacks_max_lr(recipe: Recipe) -> bool:
    """Whether a stage has to have its max_lr found."""
    return any(stage.schedule.max_lr is None for stage in stages(recipe))


def with_max_lr(recipe: Recipe, max_lr: MaxLr) -> Recipe:
    """`recipe` with this max_lr in its last stage, and in those that have none of their own."""
    values: dict[str, Any] = {"schedule.max_lr": max_lr}
    if recipe.fine_tune is not None:
        *before, last = recipe.fine_tune.stages
        values["fine_tune.stages"] = (*before, last.model_copy(update={"max_lr": None}))
    return with_values(recipe, values)


def with_largest_max_lr(recipe: Recipe, largest: float) -> Recipe:
    """The same with a number that is suggested: the ratios between the layer groups stay."""
    return with_max_lr(recipe, scaled(last_stage(recipe).schedule.max_lr, largest))
