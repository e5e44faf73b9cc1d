"""Reads a training run from its folder for a diagnosis. Needs no torch."""

from collections.abc import Sequence

from onecycle_cli.analysis.diagnosis import CurveEpoch, CurveStep, Settings, TrainingRun
from onecycle_cli.analysis.lr_range import USUAL_MAX_LR
from onecycle_cli.data.epochs import steps_per_epoch
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.planning import decay_gain, recipe_schedule
from onecycle_cli.experiments.suggestions import numbers_in, stale_settings, suggested_max_lr
from onecycle_cli.recipe import Recipe, last_stage, load
from onecycle_cli.recipe.augmentation_fields import OFF
from onecycle_cli.run_dir.files import EPOCHS, RECIPE, STEPS, SUGGESTION
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.schedules import Schedule

WHOLE = ("finished", "collapsed")
"""The statuses of runs that trained to the end. The tables of other runs may be empty, or end with half a row."""


def read_training(run: RunDir, range_test: RunDir | None = None) -> TrainingRun:
    """Reads the curves of a training so far, and its plan.

    The suggested max_lr comes from `range_test`, or else from a range test in the run's own folder. `InputError` if the
    run is not a training, has not started, or is damaged, or if `range_test` ran under other settings.
    """
    facts = run.facts
    if not (run.path / EPOCHS).is_file():
        stands = f"{run.path} has no {EPOCHS}: it is a run of {facts['command']}, {run.status}."
        raise InputError(stands, "Name a training that has begun; those of a sweep are in the folders inside it.")
    recipe = load(run.intact(RECIPE))
    suggested = _suggested(run, recipe) if range_test is None else _given(range_test, run, recipe)
    counts = facts.get("class_counts", {"train": (), "valid": ()})  # older runs do not have them
    settings = planned(
        recipe,
        train_images=facts["images"]["train"],
        valid_images=facts["images"]["valid"],
        classes=len(facts["classes"]),
        train_counts=counts["train"],
        valid_counts=counts["valid"],
        suggested=suggested,
    )
    status = run.status
    return TrainingRun(status, settings, *_read_curves(run, growing=status not in WHOLE))


def _read_curves(run: RunDir, *, growing: bool) -> tuple[list[CurveStep], list[CurveEpoch]]:
    read = run.read_growing_table if growing else run.read_table
    steps, epochs = read(STEPS), read(EPOCHS)
    with numbers_in(run, STEPS):
        read_steps = [CurveStep(int(row["step"]), float(row["lr"]), float(row["train_loss"])) for row in steps]
    with numbers_in(run, EPOCHS):
        return read_steps, [
            CurveEpoch(
                int(row["epoch"]),
                *(float(row[name]) for name in ("lr", "train_loss", "train_accuracy", "valid_loss", "valid_accuracy")),
            )
            for row in epochs
        ]


def _suggested(run: RunDir, recipe: Recipe) -> float | None:
    """Returns the max_lr that the range test in the run's own folder suggests; None if there is none."""
    return suggested_max_lr(run, recipe).max_lr if (run.path / SUGGESTION).is_file() else None


def _given(range_test: RunDir, run: RunDir, recipe: Recipe) -> float:
    stale = stale_settings(range_test, recipe, run.facts["precision"])
    if stale:
        listed = "\n".join(f"  {setting}" for setting in stale)
        raise InputError(
            f"The range test in {range_test.path} ran under other settings than {run.path}:\n{listed}",
            "Give one of the same settings, or none.",
        )
    return suggested_max_lr(range_test, recipe).max_lr


def planned(
    recipe: Recipe,
    *,
    train_images: int,
    valid_images: int,
    classes: int,
    train_counts: Sequence[int] = (),
    valid_counts: Sequence[int] = (),
    suggested: float | None = None,
) -> Settings:
    """Returns the settings of a run that a diagnosis needs.

    The usual max_lr is typical of networks that are trained from scratch. A network that starts from trained weights
    needs another one, so there the recipe's own max_lr counts as the usual one.
    """
    per_epoch = steps_per_epoch(train_images, recipe.data.batch_size, drop_last=recipe.data.drop_last)
    at, total_steps = recipe_schedule(recipe, per_epoch), recipe.schedule.epochs * per_epoch
    max_lr = last_stage(recipe).schedule.largest_max_lr
    assert max_lr is not None  # it is known before the first epoch
    fresh = not recipe.model.starts_trained
    single_cycle = recipe.schedule.policy == "one_cycle" and recipe.fine_tune is None
    return Settings(
        single_cycle=single_cycle,
        epochs=recipe.schedule.epochs,
        max_lr=max_lr,
        usual_max_lr=USUAL_MAX_LR[recipe.optimizer.name] if fresh else max_lr,
        suggested_max_lr=suggested,
        tail_share=tail_share(at, total_steps) if single_cycle else 0.0,
        gain=decay_gain(recipe),
        weight_decay=recipe.optimizer.weight_decay,
        label_smoothing=recipe.optimizer.label_smoothing,
        dropout=recipe.model.dropout_before_head,
        augmented=_is_augmented(recipe),
        classes=classes,
        valid_images=valid_images,
        balanced_classes="balanced" in (recipe.optimizer.class_weights, recipe.data.sampler),
        train_counts=train_counts,
        valid_counts=valid_counts,
    )


def _is_augmented(recipe: Recipe) -> bool:
    """Whether training images are changed at random: by flip and crop, or as the section `augmentation` says."""
    further = recipe.augmentation.model_dump(exclude={"preset"}) if recipe.augmentation else OFF
    return recipe.data.horizontal_flip or recipe.data.random_crop or further != OFF


def tail_share(schedule: Schedule, total_steps: int) -> float:
    """Returns the share of steps in the tail: the last steps, with an lr below that of step 0 and a tenth of the peak.

    In a long run about ten thousand evenly spaced steps are looked at.
    """
    lrs = [schedule(step).lr for step in range(0, total_steps, max(1, total_steps // 10_000))]
    # The blog's way down ends at the lr of step 0, and rounding may put it just below.
    low = min(lrs[0], max(lrs) / 10) * (1 - 1e-9)
    last = max(step for step, lr in enumerate(lrs) if lr >= low)
    return (len(lrs) - 1 - last) / len(lrs)
