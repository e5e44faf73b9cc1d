"""The lr range test: trains a new model while lr grows, until the loss rises or diverges."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from onecycle_cli.analysis.lr_range import (
    Curve,
    StopRule,
    Suggestion,
    has_diverged,
    shape_of,
    suggest,
    verified,
)
from onecycle_cli.experiments.drawing import draw
from onecycle_cli.experiments.following import Following
from onecycle_cli.experiments.memory import telling_batch_size
from onecycle_cli.experiments.prepared_recipe import ALL_SEEDS, PreparedRecipe, fresh, prepare, some_of
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.suggestions import suggestion_plan
from onecycle_cli.experiments.verification import short_cycles
from onecycle_cli.progress import Progress
from onecycle_cli.recipe import MOST_RANGE_STEPS, Recipe, curve_settings, finder_momentum, last_stage, with_values
from onecycle_cli.run_dir.files import (
    FIRST_LR_RANGE,
    LR_RANGE,
    LR_RANGE_COLUMNS,
    LR_RANGE_FIGURE,
    LR_RANGE_VALID_COLUMNS,
    SUGGESTION,
)
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.schedules import LrMomentum, Range
from onecycle_cli.training.step_blocks import SeenStep, in_blocks
from onecycle_cli.training.trainer import Score, Step


@dataclass(frozen=True)
class Point:
    """A row of `lr_range.csv`. Each repeat has a different `seed`."""

    seed: int
    step: int
    lr: float
    momentum: float
    train_loss: float
    smoothed_loss: float
    valid_loss: float | None
    valid_accuracy: float | None


def curve_of(points: Sequence[Point]) -> Curve:
    """Returns the curve of the train loss over lr."""
    return Curve([point.lr for point in points], [point.train_loss for point in points])


@dataclass(frozen=True)
class RangeTestResult:
    """The results of finished range tests, one per seed, and the suggestion from all of them."""

    repeats: list[list[Point]]
    suggestion: Suggestion
    stop_factor: float

    @property
    def curves(self) -> list[Curve]:
        """The curve of each repeat."""
        return [curve_of(points) for points in self.repeats]

    @property
    def stop_lrs(self) -> list[float | None]:
        """The last lr of each repeat before its loss diverged; None if it did not diverge."""
        return [_stop_lr(points, self.stop_factor) for points in self.repeats]

    @property
    def stop_lr(self) -> float | None:
        """The median of `stop_lrs`; None if the loss of any repeat did not diverge."""
        stops = [lr for lr in self.stop_lrs if lr is not None]
        return median(stops) if len(stops) == len(self.repeats) else None


def find_lr(recipe: Recipe, session: Session, *, repeats: int = 1, budget: float | None = None) -> Suggestion:
    """Runs the lr range test of a recipe, and writes its curve, figure and suggestion to the run's folder.

    The test runs `repeats` times, each time with a different seed, and the suggestion comes from the median curve. With
    a `budget`, a share of the planned run's steps, short cycles around the suggestion are trained too, and correct it.
    The run is finished even if the result has no max_lr.
    """
    with Following(recipe, session) as session, session.run.recording():
        prepared = prepare(recipe, session)
        suggestion = range_test(recipe, prepared, session, repeats=repeats, budget=budget).suggestion
        session.run.finish("finished", vars(suggestion))
    return suggestion


def range_test(
    recipe: Recipe, prepared: PreparedRecipe, session: Session, *, repeats: int = 1, budget: float | None = None
) -> RangeTestResult:
    """Runs the lr range test as `find_lr` does, on prepared data. It tests the last stage of the recipe.

    The repeats use the recipe's seed and the seeds after it, for different weights and batches. With a `budget`, a
    share of the planned run's steps, short cycles around the suggestion are trained too, and correct it.
    """
    recipe = last_stage(recipe)
    columns = LR_RANGE_VALID_COLUMNS if recipe.find_lr.valid_every else LR_RANGE_COLUMNS
    tests: list[list[Point]] = []
    with telling_batch_size(recipe, session.run), session.run.table(LR_RANGE, columns) as table:
        for repeat in range(repeats):
            if repeats > 1:
                session.report(f"Range test {repeat + 1} of {repeats}.")
            one = with_values(recipe, {"seed": (recipe.seed + repeat) % ALL_SEEDS})
            tests.append([])
            for block in _points(one, prepared, session):
                table.append(map(vars, block))
                tests[-1] += block
    plan = suggestion_plan(recipe, prepared.train.steps_per_epoch)
    # Of rank 0 alone: on another kind of processor, the last digits of a fit could lead to another decision.
    suggestion = session.ranks.from_first(lambda: suggest([curve_of(points) for points in tests], plan))
    if suggestion.max_lr is not None and not recipe.schedule.cycles:
        policy = recipe.schedule.policy
        session.note(f"max_lr is the peak of a cycle; policy {policy} starts high, so use conservative_max_lr")
    _keep(suggestion, recipe, prepared, session.run)
    if budget is not None and suggestion.max_lr is not None:
        cycles = short_cycles(recipe, suggestion, prepared, session, budget=budget)
        if cycles:
            found, divisor = suggestion, recipe.schedule.start_divisor
            suggestion = session.ranks.from_first(lambda: verified(found, cycles, div_factor=divisor))
        _keep(suggestion, recipe, prepared, session.run)
    result = RangeTestResult(tests, suggestion, recipe.find_lr.stop_factor)
    _draw(recipe, result, session)
    return result


RETRY_STEPS, RETRY_SEEDS = 2, 3
"""The factor of the steps, and the number of seeds, when a range test that gave no max_lr is repeated."""


def retry_length(recipe: Recipe) -> dict[str, Any]:
    """Returns the number of steps of a repeated range test, by dotted field name.

    More steps average out more noise, and give the loss more time to fall.
    """
    return {"find_lr.num_steps": min(RETRY_STEPS * recipe.find_lr.num_steps, MOST_RANGE_STEPS)}


def range_test_with_retry(recipe: Recipe, prepared: PreparedRecipe, session: Session) -> RangeTestResult:
    """Runs the lr range test; if it gives no max_lr, repeats it with more steps and several seeds.

    The curve of the first test is kept in another file.
    """
    test = range_test(recipe, prepared, session)
    if test.suggestion.max_lr is not None:
        return test
    longer = with_values(recipe, retry_length(recipe))
    session.note(
        f"The range test gave no max_lr and is repeated with {longer.find_lr.num_steps} steps for {RETRY_SEEDS} seeds. "
        f"{test.suggestion.reason}",
    )
    session.run.rename(LR_RANGE, FIRST_LR_RANGE)
    return range_test(longer, prepared, session, repeats=RETRY_SEEDS)


def tested_lrs(recipe: Recipe) -> str:
    """Returns a sentence with the lr range of a recipe's range test, for a message that the test gave no max_lr."""
    finder = recipe.find_lr
    return f"The range tests begin at find_lr.start_lr {finder.start_lr:g}; find_lr.end_lr is {finder.end_lr:g}."


def _keep(suggestion: Suggestion, recipe: Recipe, prepared: PreparedRecipe, run: RunDir) -> None:
    settings = curve_settings(recipe, prepared.hardware.precision)
    steps_per_epoch = prepared.train.steps_per_epoch
    run.write_json(SUGGESTION, vars(suggestion) | {"curve_settings": settings, "steps_per_epoch": steps_per_epoch})


def _points(recipe: Recipe, prepared: PreparedRecipe, session: Session) -> Iterator[list[Point]]:
    """Yields the points of the test in blocks, until the loss diverges, has risen, or lr is ten times `end_lr`."""
    finder = recipe.find_lr
    lrs = Range(finder.start_lr, finder.end_lr, finder.num_steps, finder.mode)
    rule = StopRule(finder.num_steps, lrs.further_steps, smoothing=finder.smoothing, stop_factor=finder.stop_factor)
    scores: dict[int, Score] = {}
    steps = _steps(recipe, prepared, lrs, scores)
    while not rule.over:
        total = rule.total_steps
        for block in in_blocks(islice(steps, total - len(rule.losses)), prepared.hardware, recipe.runtime.log_every):
            points = list(_recorded(block.steps, rule, recipe.seed, scores))
            yield points
            done, last = total if rule.end == "diverged" else len(rule.losses), points[-1]
            session.report(
                Progress("range test", done, total, "steps", last.train_loss, last.lr, block.images_per_second)
            )
            if rule.end == "diverged":
                return
        if not rule.over:
            further = f"{finder.end_lr:g}: the test continues to {10 * finder.end_lr:g}."
            session.note(f"The loss has not risen by lr {further}")


def _recorded(steps: Sequence[SeenStep], rule: StopRule, seed: int, scores: dict[int, Score]) -> Iterator[Point]:
    """Yields the point of each step, up to the step that ends the test."""
    for step in steps:
        smoothed, score = rule.record(step.lr, step.train_loss), scores.get(step.step)
        valid = (score.loss, score.accuracy) if score else (None, None)
        yield Point(seed, step.step, step.lr, step.momentum, step.train_loss, smoothed, *valid)
        if rule.over:
            return


def _steps(recipe: Recipe, prepared: PreparedRecipe, lrs: Range, scores: dict[int, Score]) -> Iterator[Step]:
    """Returns the steps of the test on a new model. With `find_lr.valid_every`, adds scores to `scores`, by step."""
    momentum, every = finder_momentum(recipe), recipe.find_lr.valid_every
    trainer = fresh(recipe, prepared)
    steps = trainer.steps(lambda step: LrMomentum(lrs.lr(step), momentum))
    if every is None:
        return steps
    valid = some_of(prepared.valid, recipe.seed)

    def scored() -> Iterator[Step]:
        for step in steps:
            if step.step % every == 0:
                scores[step.step] = trainer.evaluate(valid)
            yield step

    return scored()


def _stop_lr(points: list[Point], stop_factor: float) -> float | None:
    *before, last = points
    best = min(point.smoothed_loss for point in points)
    stopped = has_diverged(last.train_loss, last.smoothed_loss, best, stop_factor)
    return before[-1].lr if stopped and before else None


def _draw(recipe: Recipe, test: RangeTestResult, session: Session) -> None:
    def plot(path: Path) -> str:
        from onecycle_cli.figures.plots import plot_lr_range

        return plot_lr_range(
            path,
            title=f"{recipe.name}: learning rate range test",
            tests=[(curve.lrs, curve.losses) for curve in test.curves],
            shape=shape_of(test.curves),
            suggestion=test.suggestion,
            valid=[(p.lr, p.valid_loss) for points in test.repeats for p in points if p.valid_loss is not None],
        )

    draw(session, LR_RANGE_FIGURE, plot)
