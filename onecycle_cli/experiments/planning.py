"""What a recipe plans, known before any data is opened and without torch."""

from typing import Any

from onecycle_cli.data.epochs import check_batch_size, steps_per_epoch
from onecycle_cli.data.open_data import known_train_images
from onecycle_cli.recipe import Recipe, stages
from onecycle_cli.schedules import Schedule, joined


def recipe_schedule(recipe: Recipe, steps_per_epoch: float) -> Schedule:
    """The recipe's schedule over all its epochs, of the largest lr; its `max_lr` must be known.

    With fewer steps to an epoch than there are it is the same schedule made shorter, so they need not be whole.
    """
    settings = [stage.schedule for stage in stages(recipe)]
    return joined([(round(one.epochs * steps_per_epoch), one.build(steps_per_epoch)) for one in settings])


def of_length(recipe: Recipe, epochs: int) -> dict[str, Any]:
    """The values, by dotted field, that make a recipe so many epochs long; what it says in epochs keeps its share."""
    schedule = recipe.schedule
    share = epochs / schedule.epochs
    values: dict[str, Any] = {"schedule.epochs": epochs}
    for name in schedule.in_epochs:
        match getattr(schedule, name):
            case tuple(turns):
                values[f"schedule.{name}"] = [share * turn for turn in turns]
            case float(length):
                values[f"schedule.{name}"] = share * length
    return values


def decay_gain(recipe: Recipe) -> float:
    """How far SGD's momentum carries a step at the peak of the cycle; AdamW's decay knows no momentum."""
    return 1 / (1 - recipe.schedule.at_peak) if recipe.optimizer.name == "sgd" else 1.0


def known_steps_per_epoch(recipe: Recipe) -> int | None:
    """Steps of an epoch, where the number of images is known without opening the data; None for a folder."""
    images = known_train_images(recipe.data.source, recipe.data.valid_fraction)
    if images is None:
        return None
    check_batch_size(recipe.data.batch_size, images)
    return steps_per_epoch(images, recipe.data.batch_size, drop_last=recipe.data.drop_last)
