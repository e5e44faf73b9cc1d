"""The results of a training: its status, its summary, its diagnosis and its figure."""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from onecycle_cli.analysis import diagnosis
from onecycle_cli.analysis.class_balance import Answers, Losses, has_learned
from onecycle_cli.analysis.diagnosis import Settings, Statement
from onecycle_cli.experiments.checkpoints import Epoch
from onecycle_cli.experiments.diagnose import planned
from onecycle_cli.experiments.drawing import draw
from onecycle_cli.experiments.prepared_recipe import PreparedRecipe
from onecycle_cli.experiments.session import Session
from onecycle_cli.recipe import Recipe, frozen_groups, last_stage, lr_ratios, relative, stages
from onecycle_cli.run_dir.files import EPOCHS_COLUMNS, STEPS_COLUMNS, TRAINING_FIGURE
from onecycle_cli.run_dir.run import Status
from onecycle_cli.training.step_blocks import LoggedStep
from onecycle_cli.training.trainer import Score


def status_of(
    settings: Settings, seen: Sequence[LoggedStep], epochs: Sequence[Epoch], answers: Answers | None
) -> Status:
    """Returns how a training ended. `answers` are those on the validation images at the end; None if it diverged."""
    if answers is None or not math.isfinite(seen[-1].train_loss):
        return "diverged"
    losses = Losses([epoch.train_loss for epoch in epochs], epochs[-1].valid_loss)
    return "finished" if has_learned(losses, settings.chance, settings.valid_chance, answers) else "collapsed"


def summary_of(
    recipe: Recipe, status: Status, seen: Sequence[LoggedStep], epochs: Sequence[Epoch], test: Score | None
) -> dict[str, Any]:
    """Returns the values of `summary.json` that follow from the curves. `test` is the score on a test split, if any."""
    last = epochs[-1] if epochs and status != "diverged" else None  # a diverged run has no final accuracy
    best = max(epochs, key=lambda epoch: epoch.valid_accuracy, default=None)
    diverged = seen[-1] if status == "diverged" else None
    return {
        "status": status,
        "recipe": recipe.name,
        "max_lr": last_stage(recipe).schedule.largest_max_lr,
        "weight_decay": recipe.optimizer.weight_decay,
        "batch_size": recipe.data.batch_size,
        "epochs": len(epochs),
        "train_loss": last and last.train_loss,
        "train_accuracy": last and last.train_accuracy,
        "valid_loss": last and last.valid_loss,
        "valid_accuracy": last and last.valid_accuracy,
        "valid_balanced_accuracy": last and last.valid_balanced_accuracy,
        "valid_top5_accuracy": last and last.valid_top5_accuracy,
        "best_valid_accuracy": best and best.valid_accuracy,
        "best_epoch": best and best.epoch,
        "test_loss": test and test.loss,
        "test_accuracy": test and test.accuracy,
        "test_balanced_accuracy": test and test.balanced_accuracy,
        "test_top5_accuracy": test and test.top5_accuracy,
        "diverged_step": diverged and diverged.step,
        "diverged_lr": diverged and diverged.lr,
    }


def plan(recipe: Recipe, prepared: PreparedRecipe, *, found: bool) -> Settings:
    """Returns the settings that a diagnosis needs. `found` says that max_lr was suggested by a range test."""
    return planned(
        recipe,
        train_images=len(prepared.data.train),
        valid_images=len(prepared.data.valid),
        classes=prepared.classes,
        train_counts=prepared.train_counts,
        valid_counts=prepared.valid_counts,
        suggested=recipe.schedule.largest_max_lr if found else None,
    )


def first_statement(
    settings: Settings, status: Status, seen: Sequence[LoggedStep], epochs: Sequence[Epoch]
) -> Statement | None:
    """Returns the most important statement of the diagnosis; None if there is none."""
    steps = [diagnosis.CurveStep(step.step, step.lr, step.train_loss) for step in seen]
    rows = [
        diagnosis.CurveEpoch(e.epoch, e.lr, e.train_loss, e.train_accuracy, e.valid_loss, e.valid_accuracy)
        for e in epochs
    ]
    return next(iter(diagnosis.diagnose(diagnosis.TrainingRun(status, settings, steps, rows))), None)


def steps_columns(recipe: Recipe, groups: Sequence[str]) -> list[str]:
    """Returns the columns of `steps.csv`. If the layer groups `groups` have different lrs, each has a column."""
    apart = any(relative(stage.schedule.max_lr) for stage in stages(recipe))
    return [*STEPS_COLUMNS, *(f"lr_{group}" for group in groups if apart)]


def row_maker(recipe: Recipe, groups: Sequence[str]) -> Callable[[LoggedStep], dict[str, Any]]:
    """Returns a function that makes a row of `steps.csv` from a step. The lr of a frozen layer group is None."""
    of_epochs = [
        {f"lr_{group}": None if group in frozen_groups(stage, groups) else ratio for group, ratio in ratios.items()}
        for stage in stages(recipe)
        for ratios in [lr_ratios(stage.schedule.max_lr, groups)] * stage.schedule.epochs
    ]

    def row(step: LoggedStep) -> dict[str, Any]:
        ratios = of_epochs[step.epoch - 1]
        return vars(step) | {column: ratio and ratio * step.lr for column, ratio in ratios.items()}

    return row


def draw_training(
    recipe: Recipe, groups: Sequence[str], seen: Sequence[LoggedStep], epochs: Sequence[Epoch], session: Session
) -> None:
    """Draws losses, accuracies, lr and momentum over the steps, as `training.png`."""

    def plot(path: Path) -> str:
        from onecycle_cli.figures.plots import plot_training

        rows = list(map(row_maker(recipe, groups), seen))
        steps = {name: [row[name] for row in rows] for name in steps_columns(recipe, groups)}
        by_epoch = {name: [getattr(epoch, name) for epoch in epochs] for name in EPOCHS_COLUMNS}
        max_lr = last_stage(recipe).schedule.largest_max_lr
        title = f"{recipe.name}: max_lr {max_lr:g}, weight decay {recipe.optimizer.weight_decay:g}"
        return plot_training(path, title=title, steps=steps, epochs=by_epoch)

    draw(session, TRAINING_FIGURE, plot)
