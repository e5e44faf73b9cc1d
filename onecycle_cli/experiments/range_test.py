"""The learning rate range test: a fresh model, trained while lr grows, until the loss has had enough."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from onecycle_cli.data.batches import FixedBatches, derived_seed
from onecycle_cli.engine import Hardware, Score, Step
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.setup import SeenStep, Setup, fresh, in_blocks, note, prepare
from onecycle_cli.lr_range import Suggestion, has_diverged, onset_index, smoother, suggest
from onecycle_cli.progress import Progress, Report
from onecycle_cli.recipe import Difference, Recipe, curve_settings, differences, finder_momentum, load
from onecycle_cli.run_dir.files import (
    LR_RANGE,
    LR_RANGE_COLUMNS,
    LR_RANGE_FIGURE,
    LR_RANGE_VALID_COLUMNS,
    RECIPE,
    SUGGESTION,
)
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.schedule import LrMomentum, Range

VALID_IMAGES = 2048
"""Validation images that `valid_every` scores: the standard error of an accuracy of 0.5 is 1.1 points."""


@dataclass(frozen=True)
class Point:
    """A row of `lr_range.csv`."""

    step: int
    lr: float
    momentum: float
    train_loss: float
    smoothed_loss: float
    valid_loss: float | None
    valid_accuracy: float | None

    @property
    def is_finite(self) -> bool:
        return math.isfinite(self.train_loss) and math.isfinite(self.smoothed_loss)


@dataclass(frozen=True)
class RangeTest:
    """A range test that has ended. `stop_lr` is the last lr before its loss stopped it; None where nothing did."""

    points: list[Point]
    suggestion: Suggestion
    stop_lr: float | None

    @property
    def finite(self) -> list[Point]:
        """The points up to the first that is not finite."""
        end = next((i for i, point in enumerate(self.points) if not point.is_finite), len(self.points))
        return self.points[:end]


def find_lr(recipe: Recipe, hardware: Hardware, run: RunDir, report: Report) -> Suggestion:
    """Runs the range test of a recipe and leaves its curve, its figure and its suggestion in `run`."""
    return range_test(recipe, prepare(recipe, hardware, run, report), run, report).suggestion


def range_test(recipe: Recipe, setup: Setup, run: RunDir, report: Report) -> RangeTest:
    """The same on data that is open already."""
    finder = recipe.find_lr
    columns = LR_RANGE_VALID_COLUMNS if finder.valid_every else LR_RANGE_COLUMNS
    points: list[Point] = []
    with run.table(LR_RANGE, columns) as table:
        for block in _points(recipe, setup, run, report):
            table.append(map(vars, block))
            points += block
    suggestion = suggest(
        [point.lr for point in points],
        [point.train_loss for point in points],
        [point.smoothed_loss for point in points],
        div_factor=recipe.schedule.div_factor,
    )
    result = RangeTest(points, suggestion, _stop_lr(points, recipe.find_lr.stop_factor))
    settings = curve_settings(recipe, setup.hardware.precision)
    run.write_json(SUGGESTION, vars(suggestion) | {"curve_settings": settings})
    _draw(recipe, result, run)
    return result


def _points(recipe: Recipe, setup: Setup, run: RunDir, report: Report) -> Iterator[list[Point]]:
    """The points of the test in blocks; ends where the loss diverges, where it has risen, or at ten times `end_lr`."""
    finder = recipe.find_lr
    lrs = Range(finder.start_lr, finder.end_lr, finder.num_steps, finder.mode)
    scores: dict[int, Score] = {}
    steps = _steps(recipe, setup, lrs, scores)
    watched = _watcher(recipe, scores)
    smoothed: list[float] = []
    for total in (finder.num_steps, finder.num_steps + lrs.further_steps):
        for block in in_blocks(islice(steps, total - len(smoothed)), setup.hardware, recipe.runtime.log_every):
            points, diverged = watched(block.steps)
            yield points
            smoothed += [point.smoothed_loss for point in points]
            done, last = total if diverged else len(smoothed), points[-1]
            report(Progress("range test", done, total, "steps", last.train_loss, last.lr, block.images_per_second))
            if diverged:
                return
        if onset_index(np.array(smoothed)) is not None:
            return
        if total == finder.num_steps:
            further = f"{finder.end_lr:g}: the test goes on to {10 * finder.end_lr:g}."
            note(run, report, f"The loss has not risen by lr {further}")


def _steps(recipe: Recipe, setup: Setup, lrs: Range, scores: dict[int, Score]) -> Iterator[Step]:
    """The updates of the test on a fresh model; where validation is asked for, each score goes to `scores` by step."""
    momentum, every = finder_momentum(recipe), recipe.find_lr.valid_every
    trainer = fresh(recipe, setup)
    steps = trainer.steps(lambda step: LrMomentum(lrs.lr(step), momentum))
    if every is None:
        return steps
    valid = _some_of(setup.valid, recipe.seed)

    def scored() -> Iterator[Step]:
        for step in steps:
            if step.step % every == 0:
                scores[step.step] = trainer.evaluate(valid)
            yield step

    return scored()


def _watcher(recipe: Recipe, scores: dict[int, Score]) -> Callable[[list[SeenStep]], tuple[list[Point], bool]]:
    """A function that turns one block of steps after another into points, up to the one where the loss diverges."""
    smooth, best = smoother(recipe.find_lr.smoothing), math.inf

    def watched(steps: list[SeenStep]) -> tuple[list[Point], bool]:
        nonlocal best
        points = []
        for step in steps:
            smoothed, score = smooth(step.train_loss), scores.get(step.step)
            best = min(best, smoothed)
            valid = (score.loss, score.accuracy) if score else (None, None)
            points.append(Point(step.step, step.lr, step.momentum, step.train_loss, smoothed, *valid))
            if has_diverged(step.train_loss, smoothed, best, recipe.find_lr.stop_factor):
                return points, True
        return points, False

    return watched


def _stop_lr(points: list[Point], stop_factor: float) -> float | None:
    *before, last = points
    best = min(point.smoothed_loss for point in points)
    stopped = has_diverged(last.train_loss, last.smoothed_loss, best, stop_factor)
    return before[-1].lr if stopped and before else None


def _some_of(valid: FixedBatches, seed: int) -> FixedBatches:
    """The same few validation images for every look, drawn once."""
    generator = torch.Generator().manual_seed(derived_seed(seed, "valid"))
    some = torch.randperm(len(valid.labels), generator=generator)[:VALID_IMAGES].to(valid.labels.device)
    return FixedBatches(valid.images[some], valid.labels[some], valid.normalization, valid.batch_size)


def _draw(recipe: Recipe, test: RangeTest, run: RunDir) -> None:
    from onecycle_cli.plots import plot_lr_range

    points = test.finite
    suggestion = test.suggestion
    run.write_with(
        LR_RANGE_FIGURE,
        lambda path: plot_lr_range(
            path,
            title=f"{recipe.name}: learning rate range test",
            lrs=[point.lr for point in points],
            losses=[point.train_loss for point in points],
            smoothed=[point.smoothed_loss for point in points],
            max_lr=suggestion.max_lr,
            rule=suggestion.rule,
            peers=suggestion.peers,
            valid=[(point.lr, point.valid_loss) for point in points if point.valid_loss is not None],
        ),
    )


def suggested_max_lr(found: RunDir) -> float:
    """The max_lr that the range test in `found` suggests; `InputError` where it holds none."""
    if not (found.path / SUGGESTION).is_file():
        raise InputError(
            f"{found.path} holds no suggestion.",
            "Name a find-lr run, or a value's folder of a sweep, such as RUN/weight_decay=1e-3.",
        )
    suggestion = found.read_json(SUGGESTION)
    if suggestion["max_lr"] is None:
        raise InputError(f"The range test in {found.path} gave no max_lr. {suggestion['reason']}", "Give --max-lr.")
    return float(suggestion["max_lr"])


def stale_settings(found: RunDir, recipe: Recipe, precision: str) -> list[Difference]:
    """The settings that change the curve and differ between the test in `found` and `recipe`."""
    tested = found.read_json(SUGGESTION).get("curve_settings")
    if tested is None:  # a run of before they were kept
        tested = curve_settings(load(found.path / RECIPE), found.facts["precision"])
    return differences(tested, curve_settings(recipe, precision))
