"""What a recipe plans, known before any data is opened and without torch."""

from onecycle_cli.data.open_data import known_train_images
from onecycle_cli.recipe import Recipe
from onecycle_cli.schedule import Cycle, Schedule, check_batch_size, one_cycle, steps_per_epoch


def recipe_schedule(recipe: Recipe, steps_per_epoch: int) -> Schedule:
    """The recipe's schedule over all its epochs; its `max_lr` must be known."""
    settings = recipe.schedule
    assert settings.max_lr is not None
    cycle = Cycle(
        settings.epochs * steps_per_epoch,
        settings.max_lr,
        settings.div_factor,
        settings.final_div_factor,
        settings.pct_start,
        settings.max_momentum,
        settings.base_momentum,
    )
    return one_cycle(settings.shape, cycle, anneal_strategy=settings.anneal_strategy, three_phase=settings.three_phase)


def known_steps_per_epoch(recipe: Recipe) -> int | None:
    """Steps of an epoch, where the number of images is known without opening the data; None for a folder."""
    images = known_train_images(recipe.data.source, recipe.data.valid_fraction)
    if images is None:
        return None
    check_batch_size(recipe.data.batch_size, images)
    return steps_per_epoch(images, recipe.data.batch_size, drop_last=recipe.data.drop_last)
