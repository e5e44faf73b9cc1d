"""Training with the 1cycle policy, from the first step to the summary."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import Any

from torch import nn

from onecycle_cli import diagnosis
from onecycle_cli.diagnosis import Settings, Statement
from onecycle_cli.engine import Hardware, Score, Step, Trainer
from onecycle_cli.errors import NoSuggestionError
from onecycle_cli.experiments.diagnosing import planned
from onecycle_cli.experiments.planning import recipe_schedule
from onecycle_cli.experiments.range_test import range_test
from onecycle_cli.experiments.setup import (
    SeenStep,
    Setup,
    fresh,
    in_blocks,
    note,
    prepare,
    stage_trainer,
    weights_header,
)
from onecycle_cli.progress import Progress, Report
from onecycle_cli.recipe import (
    Recipe,
    lacks_max_lr,
    last_stage,
    lr_ratios,
    relative,
    stages,
    to_yaml,
    with_largest_max_lr,
    with_max_lr,
)
from onecycle_cli.run_dir.files import (
    BEST_MODEL,
    EPOCHS,
    EPOCHS_COLUMNS,
    MODEL,
    PROFILE,
    PROFILE_COLUMNS,
    RECIPE,
    STEPS,
    STEPS_COLUMNS,
    TRAINING_FIGURE,
)
from onecycle_cli.run_dir.run import RunDir, Status
from onecycle_cli.run_dir.writing import Table
from onecycle_cli.weights import save_weights

PROFILED_STEPS = 20


@dataclass(frozen=True)
class Training:
    """A training run that has ended: how, and everything in its summary."""

    status: Status
    summary: dict[str, Any]


@dataclass(frozen=True)
class Epoch:
    """A row of `epochs.csv`; `step` is the last update's."""

    epoch: int
    step: int
    lr: float
    momentum: float
    train_loss: float
    train_accuracy: float
    valid_loss: float
    valid_accuracy: float
    seconds: float
    images_per_second: float


def train(
    recipe: Recipe, hardware: Hardware, run: RunDir, report: Report, *, auto: bool = False, profile: bool = False
) -> Training:
    """Trains as the recipe says; with `auto`, or `schedule.max_lr` null, a range test in the same folder comes first.

    Of a max_lr that is there already, `auto` keeps the ratios between the layer groups. With `profile`, the parts of a
    step are timed before; the training is the same. A diverged or collapsed run is a result, not an error.
    `NoSuggestionError` where the range test gave no max_lr.
    """
    setup = prepare(recipe, hardware, run, report)
    return train_with(recipe, setup, run, report, auto=auto, profile=profile)


def train_with(
    recipe: Recipe, setup: Setup, run: RunDir, report: Report, *, auto: bool = False, profile: bool = False
) -> Training:
    """The same on data that is open already."""
    auto = auto or lacks_max_lr(recipe)
    if auto:
        _check_cycle(recipe, setup)
    if profile:
        _profile(fresh(recipe, setup), run, report)
    if auto:
        recipe = _with_found_max_lr(recipe, setup, run, report)
    started = perf_counter()
    model, steps = fresh(recipe, setup).model, _steps(recipe, setup, run, report)
    seen: list[SeenStep] = []
    epochs: list[Epoch] = []
    with run.table(STEPS, _columns(recipe)) as steps_table, run.table(EPOCHS, EPOCHS_COLUMNS) as epochs_table:
        for epoch in _epochs(recipe, setup, steps, seen, steps_table, report):
            epochs_table.append([vars(epoch)])
            if recipe.runtime.save_best and all(epoch.valid_accuracy > before.valid_accuracy for before in epochs):
                _save(BEST_MODEL, model, recipe, setup, run)
            epochs.append(epoch)
    status = _status(seen, epochs, setup)
    test = None
    if status != "diverged":
        _save(MODEL, model, recipe, setup, run)
        test = setup.trainer.evaluate(setup.test) if setup.test else None
    parameters = sum(parameter.numel() for parameter in model.parameters())
    summary = _summary(recipe, status, seen, epochs, test)
    summary |= {"parameters": parameters, "seconds": round(perf_counter() - started, 3)}
    settings = _plan(recipe, setup, found=auto)
    summary["diagnosis"] = _first_statement(settings, status, seen, epochs)
    _draw(recipe, seen, epochs, run)
    run.finish(status, summary)
    return Training(status, summary)


def _profile(trainer: Trainer, run: RunDir, report: Report) -> None:
    report(f"Timing the parts of a step, over {PROFILED_STEPS} steps.")
    parts = trainer.parts_of_a_step(PROFILED_STEPS)
    whole = sum(parts.values())
    with run.table(PROFILE, PROFILE_COLUMNS) as table:
        table.append(
            {"part": part, "milliseconds": 1000 * seconds, "share": seconds / whole} for part, seconds in parts.items()
        )


def _check_cycle(recipe: Recipe, setup: Setup) -> None:
    """Refuses a cycle that is too short before the range test rather than after it."""
    recipe_schedule(with_max_lr(recipe, 1.0), setup.train.steps_per_epoch)


def _status(seen: list[SeenStep], epochs: list[Epoch], setup: Setup) -> Status:
    """How the training ended. A network that has learned nothing has the loss of a uniform answer, log(classes)."""
    if not math.isfinite(seen[-1].train_loss):
        return "diverged"
    return "collapsed" if epochs[-1].train_loss >= math.log(setup.classes) else "finished"


def _with_found_max_lr(recipe: Recipe, setup: Setup, run: RunDir, report: Report) -> Recipe:
    suggestion = range_test(recipe, setup, run, report).suggestion
    if suggestion.max_lr is None:
        raise NoSuggestionError(suggestion.reason, f"The curve is in {run.path}; give --max-lr to train all the same.")
    report(f"max_lr {suggestion.max_lr:g}, confidence {suggestion.confidence}. {suggestion.reason}")
    recipe = with_largest_max_lr(recipe, suggestion.max_lr)
    run.write_text(RECIPE, to_yaml(recipe))
    return recipe


def _steps(recipe: Recipe, setup: Setup, run: RunDir, report: Report) -> Iterator[Step]:
    """All updates of a training, one stage after another; each but the last has a trainer of its own."""
    schedule, all_stages = recipe_schedule(recipe, setup.train.steps_per_epoch), stages(recipe)
    first_epoch = 1 + recipe.schedule.start_epoch
    for number, stage in enumerate(all_stages, start=1):
        if recipe.fine_tune is not None:
            frozen = f"{', '.join(stage.frozen)} frozen" if stage.frozen else "nothing frozen"
            at = f"from epoch {first_epoch}, {frozen}, max_lr {stage.schedule.largest_max_lr:g}"
            note(run, report, f"Stage {number} of {len(all_stages)}: {at}.")
        is_last = number == len(all_stages)
        trainer = setup.trainer if is_last else stage_trainer(stage, setup, lambda text: note(run, report, text))
        first_step = (first_epoch - 1) * setup.train.steps_per_epoch
        steps = (stage.schedule.epochs - stage.schedule.start_epoch) * setup.train.steps_per_epoch
        yield from islice(trainer.steps(schedule, first_step=first_step), steps)
        first_epoch += stage.schedule.epochs


def _epochs(
    recipe: Recipe, setup: Setup, steps: Iterator[Step], seen: list[SeenStep], table: Table, report: Report
) -> Iterator[Epoch]:
    """Trains and scores one epoch after another; what each step said goes to `seen` and to the table.

    Ends early, with that step as the last one seen, where a loss is not finite.
    """
    per_epoch = setup.train.steps_per_epoch
    total, row = recipe.schedule.epochs * per_epoch, _row_maker(recipe)
    for number in range(1 + recipe.schedule.start_epoch, recipe.schedule.epochs + 1):
        started, first = perf_counter(), len(seen)
        for block in in_blocks(islice(steps, per_epoch), setup.hardware, recipe.runtime.log_every):
            kept = _up_to_divergence(block.steps)
            table.append(map(row, kept))
            seen += kept
            last = kept[-1]
            if not math.isfinite(last.train_loss):
                return
            rate = block.images_per_second
            report(Progress("training", last.step + 1, total, "steps", last.train_loss, last.lr, rate))
        seconds = perf_counter() - started
        rows = seen[first:]
        images = sum(row.images for row in rows)
        score = setup.trainer.evaluate(setup.valid)
        yield Epoch(
            number,
            step=rows[-1].step,
            lr=rows[-1].lr,
            momentum=rows[-1].momentum,
            train_loss=sum(row.train_loss * row.images for row in rows) / images,
            train_accuracy=sum(row.correct for row in rows) / images,
            valid_loss=score.loss,
            valid_accuracy=score.accuracy,
            seconds=seconds,
            images_per_second=images / seconds,
        )


def _columns(recipe: Recipe) -> list[str]:
    """The columns of `steps.csv`: also one for each layer group, where their lrs differ."""
    apart = any(relative(stage.schedule.max_lr) for stage in stages(recipe))
    return [*STEPS_COLUMNS, *(f"lr_{group}" for group in recipe.model.groups if apart)]


def _row_maker(recipe: Recipe) -> Callable[[SeenStep], dict[str, Any]]:
    """What makes a row of `steps.csv`; a layer group that is frozen has no lr."""
    of_epochs = [
        {f"lr_{group}": None if group in stage.frozen else ratio for group, ratio in ratios.items()}
        for stage in stages(recipe)
        for ratios in [lr_ratios(stage.schedule.max_lr, recipe.model.groups)] * stage.schedule.epochs
    ]

    def row(step: SeenStep) -> dict[str, Any]:
        ratios = of_epochs[step.epoch - 1]
        return vars(step) | {column: ratio and ratio * step.lr for column, ratio in ratios.items()}

    return row


def _up_to_divergence(steps: list[SeenStep]) -> list[SeenStep]:
    end = next((i for i, step in enumerate(steps, start=1) if not math.isfinite(step.train_loss)), len(steps))
    return steps[:end]


def _save(name: str, model: nn.Module, recipe: Recipe, setup: Setup, run: RunDir) -> None:
    header = weights_header(recipe, setup)
    run.write_with(name, lambda path: save_weights(path, model.state_dict(), header))


def _summary(
    recipe: Recipe, status: Status, seen: list[SeenStep], epochs: list[Epoch], test: Score | None
) -> dict[str, Any]:
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
        "best_valid_accuracy": best and best.valid_accuracy,
        "best_epoch": best and best.epoch,
        "test_loss": test and test.loss,
        "test_accuracy": test and test.accuracy,
        "diverged_step": diverged and diverged.step,
        "diverged_lr": diverged and diverged.lr,
    }


def _plan(recipe: Recipe, setup: Setup, *, found: bool) -> Settings:
    """What a diagnosis has to know; `found` where max_lr is what a range test suggested."""
    return planned(
        recipe,
        train_images=len(setup.data.train),
        valid_images=len(setup.data.valid),
        classes=setup.classes,
        suggested=recipe.schedule.largest_max_lr if found else None,
    )


def _first_statement(settings: Settings, status: Status, seen: list[SeenStep], epochs: list[Epoch]) -> Statement | None:
    """The most important of what the curves say; None where they say nothing."""
    steps = [diagnosis.Step(step.step, step.lr, step.train_loss) for step in seen]
    rows = [
        diagnosis.Epoch(e.epoch, e.lr, e.train_loss, e.train_accuracy, e.valid_loss, e.valid_accuracy) for e in epochs
    ]
    return next(iter(diagnosis.diagnose(diagnosis.TrainingRun(status, settings, steps, rows))), None)


def _draw(recipe: Recipe, seen: list[SeenStep], epochs: list[Epoch], run: RunDir) -> None:
    from onecycle_cli.plots import plot_training

    rows = list(map(_row_maker(recipe), seen))
    steps = {name: [row[name] for row in rows] for name in _columns(recipe)}
    by_epoch = {name: [getattr(epoch, name) for epoch in epochs] for name in EPOCHS_COLUMNS}
    max_lr = last_stage(recipe).schedule.largest_max_lr
    title = f"{recipe.name}: max_lr {max_lr:g}, weight decay {recipe.optimizer.weight_decay:g}"
    run.write_with(TRAINING_FIGURE, lambda path: plot_training(path, title=title, steps=steps, epochs=by_epoch))
