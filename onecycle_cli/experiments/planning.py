"""Plans from a recipe alone: its schedule and its steps. Opens no data and imports no torch."""

from typing import Any

from onecycle_cli.data.epochs import check_batch_size, steps_per_epoch
from onecycle_cli.data.open_data import known_train_images
from onecycle_cli.recipe import Recipe, stages
from onecycle_cli.schedules import Schedule, joined


def recipe_schedule(recipe: Recipe, steps_per_epoch: float) -> Schedule:
    """Builds the schedule of a recipe over all its stages, for the layer group with the largest lr.

    No `max_lr` may be None. `steps_per_epoch` may be smaller than the real number, also a fraction, for the same
    schedule with fewer steps.
    """
    settings = [stage.schedule for stage in stages(recipe)]
    return joined([(round(one.epochs * steps_per_epoch), one.build(steps_per_epoch)) for one in settings])


def of_length(recipe: Recipe, epochs: int) -> dict[str, Any]:
    """Returns the fields that change a recipe's length to `epochs`, by dotted name. Fields in epochs are scaled."""
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
    """Returns the factor by which momentum amplifies weight decay at the peak of lr.

    It is 1 / (1 - momentum) for SGD, and 1 for AdamW, whose weight decay does not pass through the momentum.
    """
    return 1 / (1 - recipe.schedule.at_peak) if recipe.optimizer.name == "sgd" else 1.0


def known_steps_per_epoch(recipe: Recipe) -> int | None:
    """Returns the steps per epoch if the number of images is known without opening the data; None for a folder."""
    images = known_train_images(recipe.data)
    if images is None:
        return None
    check_batch_size(recipe.data.batch_size, images)
    return steps_per_epoch(images, recipe.data.batch_size, drop_last=recipe.data.drop_last)
