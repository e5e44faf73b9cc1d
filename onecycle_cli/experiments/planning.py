"""What a recipe plans, known before any data is opened and without torch."""

from itertools import accumulate
from typing import Any

from onecycle_cli.data.epochs import check_batch_size, steps_per_epoch
from onecycle_cli.data.open_data import known_train_images
from onecycle_cli.recipe import Recipe, stages
from onecycle_cli.recipe import Schedule as Settings
from onecycle_cli.schedules import Legs, Schedule, constant, cosine, joined, multistep, one_cycle, triangular


def recipe_schedule(recipe: Recipe, steps_per_epoch: float) -> Schedule:
    """The recipe's schedule over all its epochs, of the largest lr; its `max_lr` must be known.

    With fewer steps to an epoch than there are it is the same schedule made shorter, so they need not be whole.
    """
    settings = [stage.schedule for stage in stages(recipe)]
    return joined([(round(one.epochs * steps_per_epoch), _schedule(one, steps_per_epoch)) for one in settings])


def _schedule(settings: Settings, steps_per_epoch: float) -> Schedule:
    max_lr, momentum = settings.largest_max_lr, settings.max_momentum
    assert max_lr is not None
    total_steps = round(settings.epochs * steps_per_epoch)
    match settings.policy:
        case "one_cycle":
            return _one_cycle(settings, max_lr, steps_per_epoch, total_steps)
        case "triangular":
            assert settings.base_momentum is not None  # the recipe holds to it, here and below
            return triangular(
                max_lr=max_lr,
                div_factor=settings.start_divisor,
                step_size=settings.step_size or _steps(settings.step_size_epochs or 0, steps_per_epoch),
                max_momentum=momentum,
                base_momentum=settings.base_momentum,
                mode=settings.mode,
                gamma=settings.gamma or 1.0,
            )
        case "constant":
            return constant(max_lr=max_lr, momentum=momentum)
        case "multistep":
            assert settings.milestones is not None
            assert settings.gamma is not None
            milestones = [_steps(epoch, steps_per_epoch) for epoch in settings.milestones]
            return multistep(max_lr=max_lr, milestones=milestones, gamma=settings.gamma, momentum=momentum)
        case "cosine":
            assert settings.final_div_factor is not None
            min_lr = max_lr / settings.final_div_factor
            return cosine(max_lr=max_lr, min_lr=min_lr, total_steps=total_steps, momentum=momentum)


def share_up(settings: Settings) -> float:
    """Of the steps, those before the peak of one cycle; all of them where the policy has no such way up."""
    if settings.policy != "one_cycle":
        return 1.0
    if settings.legs is not None:
        return settings.legs[0] / sum(settings.legs)
    assert settings.pct_start is not None
    return settings.pct_start


def of_length(recipe: Recipe, epochs: int) -> dict[str, Any]:
    """The values, by dotted field, that make a recipe so many epochs long; what it says in epochs keeps its share."""
    schedule = recipe.schedule
    share = epochs / schedule.epochs
    values: dict[str, Any] = {"schedule.epochs": epochs}
    if schedule.step_size_epochs is not None:
        values["schedule.step_size_epochs"] = share * schedule.step_size_epochs
    for name, turns in (("legs", schedule.legs), ("milestones", schedule.milestones)):
        if turns is not None:
            values[f"schedule.{name}"] = [share * turn for turn in turns]
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


def _one_cycle(settings: Settings, max_lr: float, steps_per_epoch: float, total_steps: int) -> Schedule:
    assert settings.shape is not None
    assert settings.final_div_factor is not None
    assert settings.base_momentum is not None
    legs = None
    if settings.legs is not None:
        # Rounded at the turns, not leg by leg, so that two errors of half a step do not add up.
        peak, back, *_ = (_steps(turn, steps_per_epoch) for turn in accumulate(settings.legs))
        legs = Legs(peak, back - peak)
    return one_cycle(
        total_steps,
        max_lr,
        div_factor=settings.start_divisor,
        final_div_factor=settings.final_div_factor,
        pct_start=share_up(settings),
        max_momentum=settings.max_momentum,
        base_momentum=settings.base_momentum,
        shape=settings.shape,
        legs=legs,
        anneal_strategy=settings.anneal_strategy,
        three_phase=settings.three_phase,
    )


def _steps(epochs: float, steps_per_epoch: float) -> int:
    """At least one."""
    return max(1, round(epochs * steps_per_epoch))
