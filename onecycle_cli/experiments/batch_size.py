"""Finds a batch size: times real training steps at increasing sizes, until memory or speed sets the limit."""

import gc
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from statistics import median
from time import perf_counter

import torch

from onecycle_cli.analysis.batch_size import (
    GAIN,
    MARGIN,
    largest_that_fits,
    measured_speeds,
    smallest_fast,
    with_margin,
)
from onecycle_cli.data.epochs import steps_per_epoch
from onecycle_cli.errors import MachineError, is_out_of_memory
from onecycle_cli.experiments.prepared_recipe import PreparedRecipe, prepare
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.trainers import new_trainer
from onecycle_cli.recipe import Recipe, with_values
from onecycle_cli.run_dir.files import BATCH_SIZE, BATCH_SIZE_COLUMNS
from onecycle_cli.schedules import LrMomentum
from onecycle_cli.training.cuda_graphs import WARM_UP
from onecycle_cli.training.step_blocks import in_blocks

SETTLED = WARM_UP + 2
"""The number of steps before timing starts. On a GPU, CUDA graphs are captured and replayed once by then."""

TIMED_STEPS, TIMED_SECONDS = 5, 1.0
"""The least number of timed steps and seconds, both: five steps of 16 images are too short for a stable speed."""

FITS, TOO_LARGE = "fits", "out of memory"


@dataclass(frozen=True)
class Trial:
    """A row of `batch_size.csv`: a batch size, whether its steps fit in memory, and their speed.

    `images_per_second` is a median over steps. `peak_memory_gib` is what torch reserved on the GPU; None on a CPU.
    """

    batch_size: int
    status: str
    images_per_second: float | None
    peak_memory_gib: float | None


@dataclass(frozen=True)
class FoundBatchSize:
    """The chosen batch size, the reason as a sentence, and all trials in their order."""

    batch_size: int
    reason: str
    steps_per_epoch: int
    trials: list[Trial]


def find_batch_size(recipe: Recipe, session: Session) -> FoundBatchSize:
    """Tries batch sizes with the recipe's own training step, and writes a table of them to the run's folder.

    On a GPU, returns the largest size that fits in memory, less a margin. On other devices, returns the smallest size
    that is about as fast as any. With `data.accumulate`, the sizes are those of a micro-batch, because it is what takes
    the memory and the time. `MachineError` if not even the smallest size fits.
    """
    with session.run.recording():
        found = _found(recipe, session)
        session.run.finish("finished", vars(found))
    return found


def _found(recipe: Recipe, session: Session) -> FoundBatchSize:
    if (parts := recipe.data.accumulate) > 1:
        session.note(f"The sizes tried are those of a micro-batch: a batch is {parts} of them (data.accumulate).")
    recipe = with_values(recipe, {"data.accumulate": 1})
    prepared = prepare(with_values(recipe, {"data.batch_size": 2, "data.drop_last": True}), session)
    images = len(prepared.train.labels)
    trials: list[Trial] = []
    with session.run.table(BATCH_SIZE, BATCH_SIZE_COLUMNS) as table:

        def trial(batch_size: int) -> Trial:
            trials.append(try_batch_size(recipe, prepared, batch_size))
            table.append([vars(trials[-1])])
            session.report(_in_words(trials[-1]))
            return trials[-1]

        search = _largest if session.hardware.device.type == "cuda" else _fast
        batch_size, reason = search(trial, images)
    batch_size = min(parts * batch_size, images)
    steps = steps_per_epoch(images, batch_size, drop_last=recipe.data.drop_last)
    return FoundBatchSize(batch_size, reason, steps, trials)


def _largest(trial: Callable[[int], Trial], images: int) -> tuple[int, str]:
    largest = largest_that_fits(lambda size: trial(size).status == FITS, images)
    if largest is None:
        raise _nothing_fits()
    fits = (
        f"All {images:,} training images fit at once" if largest == images else f"The largest that fits is {largest:,}"
    )
    return with_margin(largest), f"{fits}; {MARGIN:.0%} of it is left as a margin."


def _fast(trial: Callable[[int], Trial], images: int) -> tuple[int, str]:
    speeds = measured_speeds(lambda size: trial(size).images_per_second, images)
    if not speeds:
        raise _nothing_fits()
    chosen, best = smallest_fast(speeds), max(speeds, key=lambda speed: speed.images_per_second)
    fastest = "" if chosen == best else f"; {best.batch_size:,} has {best.images_per_second:,.0f}, the most"
    rate = f"{chosen.images_per_second:,.0f} images a second"
    return chosen.batch_size, f"The smallest within {GAIN:.0%} of the highest speed, with {rate}{fastest}."


def _nothing_fits() -> MachineError:
    return MachineError(
        "Not even the smallest batch fits in memory.",
        "Set a smaller data.image_size or a smaller network, or free some memory.",
    )


def try_batch_size(recipe: Recipe, prepared: PreparedRecipe, batch_size: int) -> Trial:
    """Times steps at one batch size, and frees all memory. A size that does not fit is a result, not an error."""
    cuda, device = prepared.hardware.device.type == "cuda", prepared.hardware.device
    if cuda:
        torch.cuda.reset_peak_memory_stats(device)
    try:
        speed = images_per_second(recipe, prepared, batch_size)
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        speed = None
    peak = torch.cuda.max_memory_reserved(device) / 2**30 if cuda and speed is not None else None
    # The trainer is part of reference cycles, and after an error of a traceback, so only the collector frees it.
    gc.collect()
    if cuda:
        torch.cuda.empty_cache()
    return Trial(batch_size, TOO_LARGE if speed is None else FITS, speed, peak)


def images_per_second(recipe: Recipe, prepared: PreparedRecipe, batch_size: int) -> float | None:
    """The speed of real training steps, and on a GPU scoring as well; None where graphs find no room for themselves."""
    told: list[str] = []
    train = replace(prepared.train, batch_size=batch_size, drop_last=True)
    trainer = new_trainer(recipe, prepared.data, prepared.start, train, prepared.hardware, told.append, prepared.code)
    # What a step costs does not depend on lr, and at 0 nothing diverges.
    steps = in_blocks(
        trainer.steps(lambda _: LrMomentum(0.0, recipe.schedule.max_momentum)), prepared.hardware, log_every=1
    )
    for _ in islice(steps, SETTLED):
        pass
    started = perf_counter()
    speeds: list[float] = []
    while len(speeds) < TIMED_STEPS or perf_counter() - started < TIMED_SECONDS:
        speeds.append(next(steps).images_per_second)
    if prepared.hardware.device.type == "cuda":
        valid = prepared.valid
        batch = replace(
            valid, images=valid.images[:batch_size], labels=valid.labels[:batch_size], batch_size=batch_size
        )
        for _ in range(SETTLED):
            trainer.evaluate(batch)
    if any("memory" in text for text in told):
        return None  # it would train without graphs, and more slowly
    return median(speeds)


def _in_words(trial: Trial) -> str:
    if trial.images_per_second is None:
        return f"batch size {trial.batch_size:,}: {trial.status}"
    memory = "" if trial.peak_memory_gib is None else f", {trial.peak_memory_gib:.1f} GiB"
    return f"batch size {trial.batch_size:,}: {trial.images_per_second:,.0f} images a second{memory}"
