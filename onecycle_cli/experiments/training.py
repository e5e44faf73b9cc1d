"""Trains with the 1cycle policy: from the first step or a checkpoint, to weights and summary."""

import math
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from time import perf_counter
from typing import Any

from torch import nn

from onecycle_cli.analysis.lr_range import USUAL_MAX_LR, told_max_lr
from onecycle_cli.errors import InputError, NoSuggestionError, Terminated
from onecycle_cli.experiments.checkpoints import Checkpoint, Checkpoints, Epoch, Position, Sums
from onecycle_cli.experiments.following import Following
from onecycle_cli.experiments.kept_images import copies_note, keep_images
from onecycle_cli.experiments.memory import telling_batch_size
from onecycle_cli.experiments.planning import recipe_schedule
from onecycle_cli.experiments.prepared_recipe import PreparedRecipe, fresh, prepare, weights_header
from onecycle_cli.experiments.range_test import range_test_with_retry, tested_lrs
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.staged_steps import StagedSteps
from onecycle_cli.experiments.suggestions import numbers_in
from onecycle_cli.experiments.training_summary import (
    draw_training,
    first_statement,
    plan,
    row_maker,
    status_of,
    steps_columns,
    summary_of,
)
from onecycle_cli.models.weights import save_weights
from onecycle_cli.progress import Progress
from onecycle_cli.recipe import Recipe, lacks_max_lr, to_yaml, with_largest_max_lr, with_max_lr
from onecycle_cli.run_dir.files import (
    BEST_MODEL,
    EPOCHS,
    EPOCHS_COLUMNS,
    LR_RANGE_FIGURE,
    MODEL,
    PROFILE,
    PROFILE_COLUMNS,
    RECIPE,
    STEPS,
)
from onecycle_cli.run_dir.rows import Rows
from onecycle_cli.run_dir.run import RunDir, Status
from onecycle_cli.run_dir.writing import to_csv
from onecycle_cli.training.signals import Held, held_back
from onecycle_cli.training.step_blocks import LoggedStep, SeenStep, in_blocks
from onecycle_cli.training.trainer import Score, Step, Trainer

PROFILED_STEPS = 20
"""The number of steps that `train --profile` times."""


@dataclass(frozen=True)
class Training:
    """A training that has ended: its status, and the content of `summary.json`."""

    status: Status
    summary: dict[str, Any]


def train(recipe: Recipe, session: Session, *, auto: bool = False, profile: bool = False) -> Training:
    """Trains as the recipe says, and leaves tables, weights, figure and summary in the run's folder.

    With `auto`, or if `schedule.max_lr` is null, a range test in the same folder runs first. If the recipe has a max_lr
    for each layer group, `auto` keeps their ratios. With `profile`, the parts of a step are timed first; the training
    is the same. With `runtime.ema`, the averaged weights are scored and saved. A diverged or collapsed run is a result,
    not an error. An interrupt ends the run after the current step, with a checkpoint. `NoSuggestionError` if two range
    tests give no max_lr.
    """
    with session.run.alone(), Following(recipe, session) as session, session.run.recording():
        return train_with(recipe, prepare(recipe, session), session, auto=auto, profile=profile)


def train_with(
    recipe: Recipe,
    prepared: PreparedRecipe,
    session: Session,
    *,
    auto: bool = False,
    profile: bool = False,
    checkpoint: Checkpoint | None = None,
) -> Training:
    """Trains as `train` does, on prepared data, in a run whose end the caller records.

    With a `checkpoint` of the run, continues from there to the same final weights.
    """
    keep_images(prepared.data, session.run)
    if copies := copies_note(prepared.data):
        session.note(copies)
    auto = auto or lacks_max_lr(recipe)
    if auto:
        _check_cycle(recipe, prepared)
    if profile:
        _profile(fresh(recipe, prepared), session)
    if auto:
        recipe = _with_found_max_lr(recipe, prepared, session)
    updates = StagedSteps(recipe, prepared, session)
    first_step = recipe.schedule.start_epoch * prepared.train.steps_per_epoch
    position, seen = Position(first_step, Sums(), (), 0.0), []
    if checkpoint is not None:
        position = checkpoint.position
        rows = position.step - first_step
        seen = session.ranks.from_first(lambda: _seen_before(session.run, rows))
        updates.restore(position.step, checkpoint.state)
    # Also at the beginning of a resumed run: older versions wrote another header.
    epochs = [[getattr(epoch, name) for name in EPOCHS_COLUMNS] for epoch in position.epochs]
    session.run.write_text(EPOCHS, to_csv(EPOCHS_COLUMNS, epochs))
    with (
        telling_batch_size(recipe, session.run),
        session.run.table(
            STEPS, steps_columns(recipe, prepared.groups), keep=position.step - first_step
        ) as steps_table,
        session.run.table(EPOCHS, EPOCHS_COLUMNS, keep=len(position.epochs)) as epochs_table,
        held_back() as held,
    ):
        every, tables = recipe.runtime.checkpoint_seconds, (steps_table, epochs_table)
        checkpoints = Checkpoints(session.run, every, prepared.data.signature, tables)
        loop = _Loop(recipe, prepared, session, updates, steps_table, epochs_table, checkpoints, held)
        position, score = loop.run(position, seen)
    found = auto or "found_max_lr" in session.run.facts
    with updates.averaged():
        return _ended(recipe, prepared, session, position, seen, score, found=found)


@dataclass(frozen=True)
class _Loop:
    """Trains and scores epoch after epoch, and writes the run's tables and checkpoints."""

    recipe: Recipe
    prepared: PreparedRecipe
    session: Session
    updates: StagedSteps
    steps_table: Rows
    epochs_table: Rows
    checkpoints: Checkpoints
    held: Held

    def run(self, position: Position, seen: list[LoggedStep]) -> tuple[Position, Score | None]:
        """Trains from `position` to the end, or to the first loss that is not finite. Appends the steps to `seen`.

        Returns the last position and the score at the end; None if the loss was not finite.
        """
        score = None
        steps = self.updates.since(position.step)
        first, last = 1 + self.recipe.schedule.start_epoch, self.recipe.schedule.epochs
        for number in range(first + len(position.epochs), last + 1):
            end = number * self.prepared.train.steps_per_epoch
            while position.step < end and (not seen or math.isfinite(seen[-1].train_loss)):
                until = self._until_interrupted(islice(steps, end - position.step))
                for after in self._steps(position, until, seen):
                    position = after
                    if self.checkpoints.due:
                        self._keep(position)
                self._end_if_interrupted(position)
            if not math.isfinite(seen[-1].train_loss):
                return position, None
            position, score = self._scored(position, number, seen[-1])
        self._end_if_interrupted(position)
        self._keep(position)
        # A run that resumes from a checkpoint at its very end has no score yet.
        return position, score or self._score()

    def _until_interrupted(self, steps: Iterator[Step]) -> Iterator[Step]:
        """Yields the steps, up to the one in which an interrupt comes to any rank."""
        for step in steps:
            yield step
            if self.session.ranks.largest(self.held.number):
                return

    def _end_if_interrupted(self, position: Position) -> None:
        """Writes a checkpoint if an interrupt came to any rank, waits until every rank is here, and raises it."""
        ranks = self.session.ranks
        number = ranks.largest(self.held.number)
        if not number:
            return
        self._keep(position)
        ranks.wait()
        if not ranks.several:
            self.held.let_go()
        elif number == signal.SIGINT:
            raise KeyboardInterrupt
        else:
            raise Terminated(number)

    def _steps(self, position: Position, steps: Iterator[Step], seen: list[LoggedStep]) -> Iterator[Position]:
        """Takes the remaining steps of an epoch, and yields the position after each block of them."""
        total = self.recipe.schedule.epochs * self.prepared.train.steps_per_epoch
        row, started = row_maker(self.recipe, self.prepared.groups), perf_counter()
        for block in in_blocks(steps, self.prepared.hardware, self.recipe.runtime.log_every):
            kept = _up_to_divergence(block.steps)
            self.steps_table.append(map(row, kept))
            seen += kept
            last, rate = kept[-1], block.images_per_second
            if not math.isfinite(last.train_loss):
                return
            now = perf_counter()
            position, started = position.after(kept, now - started), now
            self.session.report(Progress("training", last.step + 1, total, "steps", last.train_loss, last.lr, rate))
            yield position

    def _keep(self, position: Position) -> None:
        """Writes a checkpoint. Rank 0 has the state of all ranks, and writes it."""
        if self.session.ranks.first:
            self.checkpoints.write(position, self.updates.state())

    def _score(self) -> Score:
        with self.updates.averaged():
            return self.prepared.trainer.evaluate(self.prepared.valid)

    def _scored(self, position: Position, number: int, last: LoggedStep) -> tuple[Position, Score]:
        """Scores the epoch that has just ended, and returns the position after it and the score."""
        started, sums = perf_counter(), position.sums
        score = self._score()
        epoch = Epoch(
            number,
            step=last.step,
            lr=last.lr,
            momentum=last.momentum,
            train_loss=sums.loss / sums.weight,
            train_accuracy=sums.correct / sums.images,
            valid_loss=score.loss,
            valid_accuracy=score.accuracy,
            valid_balanced_accuracy=score.balanced_accuracy,
            valid_top5_accuracy=score.top5_accuracy,
            seconds=sums.seconds,
            images_per_second=sums.images / sums.seconds,
        )
        self.epochs_table.append([vars(epoch)])
        if self.recipe.runtime.save_best and all(score.accuracy > one.valid_accuracy for one in position.epochs):
            with self.updates.averaged():
                _save(BEST_MODEL, self.prepared.trainer.model, self.recipe, self.prepared, self.session.run)
        seconds = position.seconds + perf_counter() - started
        return replace(position, sums=Sums(), epochs=(*position.epochs, epoch), seconds=seconds), score


def _ended(
    recipe: Recipe,
    prepared: PreparedRecipe,
    session: Session,
    position: Position,
    seen: list[LoggedStep],
    score: Score | None,
    *,
    found: bool,
) -> Training:
    started, model, epochs = perf_counter(), prepared.trainer.model, position.epochs
    answers = score.answers if score else None
    settings = plan(recipe, prepared, found=found)
    status = status_of(settings, seen, epochs, answers)
    test = None
    if status != "diverged":
        _save(MODEL, model, recipe, prepared, session.run)
        test = prepared.trainer.evaluate(prepared.test) if prepared.test else None
    summary = summary_of(recipe, status, seen, epochs, test)
    only_answer = answers.only_answer if answers else None
    summary["only_answer"] = None if only_answer is None else prepared.data.classes[only_answer]
    if only_answer is not None:
        session.note(f"The model answers '{summary['only_answer']}' for every validation image.")
    summary["parameters"] = sum(parameter.numel() for parameter in model.parameters())
    summary["seconds"] = round(position.seconds + perf_counter() - started, 3)
    summary["diagnosis"] = first_statement(settings, status, seen, epochs)
    draw_training(recipe, prepared.groups, seen, epochs, session)
    session.run.finish(status, summary)
    return Training(status, summary)


def _seen_before(run: RunDir, rows: int) -> list[LoggedStep]:
    """Reads the steps before a checkpoint from the run's table. `InputError` if rows are missing."""
    found = run.read_growing_table(STEPS)[:rows]
    if len(found) < rows:
        what = f"{run.path / STEPS} has {len(found)} rows, but its checkpoint comes after {rows}."
        raise InputError(what, "Put the whole table back, or train again from the beginning.")
    with numbers_in(run, STEPS):
        return [
            LoggedStep(int(row["step"]), int(row["epoch"]), *(float(row[n]) for n in ("lr", "momentum", "train_loss")))
            for row in found
        ]


def _profile(trainer: Trainer, session: Session) -> None:
    session.report(f"Timing the parts of a step, over {PROFILED_STEPS} steps.")
    parts = trainer.parts_of_a_step(PROFILED_STEPS)
    whole = sum(parts.values())
    rows = [(part, 1000 * seconds, seconds / whole) for part, seconds in parts.items()]
    session.run.write_text(PROFILE, to_csv(PROFILE_COLUMNS, rows))


def _check_cycle(recipe: Recipe, prepared: PreparedRecipe) -> None:
    """Refuses a cycle that is too short, before the range test runs."""
    recipe_schedule(with_max_lr(recipe, 1.0), prepared.train.steps_per_epoch)


def _with_found_max_lr(recipe: Recipe, prepared: PreparedRecipe, session: Session) -> Recipe:
    suggestion = range_test_with_retry(recipe, prepared, session).suggestion
    if suggestion.max_lr is None:
        usual = f"{USUAL_MAX_LR[recipe.optimizer.name]:g} is usual for a network that is trained from scratch"
        guess = f"{suggestion.typical_max_lr:g}" if suggestion.typical_max_lr else usual
        raise NoSuggestionError(
            f"Two range tests gave no max_lr. {suggestion.reason}",
            f"Look at {session.run.path / LR_RANGE_FIGURE} and change what the reason names, or train without a range "
            f"test: --max-lr {guess}. {tested_lrs(recipe)}",
        )
    session.report(told_max_lr(suggestion.max_lr, suggestion.confidence, suggestion.error_bar, suggestion.reason))
    recipe = with_largest_max_lr(recipe, suggestion.max_lr)
    session.run.write_text(RECIPE, to_yaml(recipe))
    session.run.keep(found_max_lr=suggestion.max_lr)
    return recipe


def _up_to_divergence(steps: list[SeenStep]) -> list[SeenStep]:
    end = next((i for i, step in enumerate(steps, start=1) if not math.isfinite(step.train_loss)), len(steps))
    return steps[:end]


def _save(name: str, model: nn.Module, recipe: Recipe, prepared: PreparedRecipe, run: RunDir) -> None:
    header = weights_header(recipe, prepared)
    run.write_with(name, lambda path: save_weights(path, model.state_dict(), header))
