"""How far runs have come, from their folders alone. Reads the last rows of their tables, and never writes."""

import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onecycle_cli.data.epochs import steps_per_epoch
from onecycle_cli.errors import InputError, naming
from onecycle_cli.experiments.suggestions import numbers_in
from onecycle_cli.recipe import load
from onecycle_cli.run_dir.facts import order, words_of
from onecycle_cli.run_dir.files import EPOCHS, FIRST_LR_RANGE, LR_RANGE, RECIPE, RUN, STEPS, SWEEP_PLAN, UNFINISHED
from onecycle_cli.run_dir.run import RunDir, Status, status_in

ENOUGH_SECONDS = 3.0
"""How long a run has to be watched before its speed is known well enough."""


@dataclass(frozen=True)
class RunProgress:
    """How far a run has come; None for what is not known, or not yet.

    `work` is "training", "range test" or "cells", and `done` of `total` are its steps or cells; of range
    tests that are repeated, the steps of all. `loss` and `lr` are
    those of the last step in the tables, `valid_accuracy` that of the last epoch. `updated` is the time of the last
    row, in seconds since 1970, and `seconds_per_step` how long the steps of the last epoch took.
    """

    work: str | None = None
    done: int | None = None
    total: int | None = None
    epoch: int | None = None
    epochs: int | None = None
    loss: float | None = None
    lr: float | None = None
    valid_accuracy: float | None = None
    updated: float | None = None
    seconds_per_step: float | None = None

    def seconds_left(self, seconds_per_step: float | None = None) -> float | None:
        """Returns the time until the last step, at the given speed or that of the last epoch."""
        speed = self.seconds_per_step if seconds_per_step is None else seconds_per_step
        if speed is None or self.done is None or self.total is None:
            return None
        return (self.total - self.done) * speed


@dataclass(frozen=True)
class _Plan:
    """The length of a run, as its recipe and its images have it; None where it is not known yet."""

    epochs: int | None = None
    steps_per_epoch: int | None = None
    range_steps: int | None = None
    range_tests: int | None = None
    seed: int = 0


def progress_of(run: RunDir) -> RunProgress:
    """Returns how far a run has come. `InputError` if one of its files is damaged."""
    return _progress(run, _plan(run, run.facts))


def _plan(run: RunDir, facts: Mapping[str, Any]) -> _Plan:
    recipe = load(run.intact(RECIPE))
    images, data = facts.get("images"), recipe.data
    count = images.get("train") if isinstance(images, Mapping) else None
    per_epoch = None
    if isinstance(count, int) and count > 0:
        per_epoch = steps_per_epoch(count, data.batch_size, drop_last=data.drop_last)
    return _Plan(recipe.schedule.epochs, per_epoch, recipe.find_lr.num_steps, _range_tests(facts), recipe.seed)


def _range_tests(facts: Mapping[str, Any]) -> int | None:
    """Returns how many range tests a run was asked for with --repeats; None where that may be a number of trainings."""
    words = words_of(facts)
    for word, following in zip(words, [*words, ""][1:], strict=True):
        number = following if word == "--repeats" else word.removeprefix("--repeats=")
        if word.startswith("--repeats") and number.isdecimal():
            return None if facts.get("command") == "sweep" else int(number)
    return 1


def _progress(run: RunDir, plan: _Plan) -> RunProgress:
    if (step := run.last_row(STEPS)) is not None:
        return _training(run, step, plan)
    row = run.last_row(LR_RANGE)
    if row is None:
        return _cells(run)
    with numbers_in(run, LR_RANGE):
        nth = int(row.get("seed", plan.seed)) - plan.seed  # runs of older versions have no such column
        here = int(row["step"]) + 1
        done = here if nth == 0 else max(here, _rows(run.path / LR_RANGE))
        total = None if (run.path / FIRST_LR_RANGE).is_file() else _range_total(plan, nth, done, here)
        loss, lr = float(row["train_loss"]), float(row["lr"])
    return RunProgress("range test", done, total, loss=loss, lr=lr, updated=_changed(run, LR_RANGE))


def _range_total(plan: _Plan, nth: int, done: int, here: int) -> int | None:
    """Returns how many steps the range tests will have: those of the tests that have ended, this one, those to come.

    `done` steps are done, `here` of them in this test, the `nth` from 0. A test may end early, or go on beyond its
    end_lr. None if there are more tests than the command line says.
    """
    if plan.range_steps is None or plan.range_tests is None or not 0 <= nth < plan.range_tests:
        return None
    return done - here + max(plan.range_steps, here) + (plan.range_tests - 1 - nth) * plan.range_steps


def _rows(path: Path) -> int:
    """Counts the complete rows of a table of numbers."""
    with naming(path), path.open("rb") as file:
        return sum(line.endswith(b"\n") for line in file) - 1


def _training(run: RunDir, step: Mapping[str, str], plan: _Plan) -> RunProgress:
    epoch = run.last_row(EPOCHS)
    with numbers_in(run, EPOCHS):
        accuracy = None if epoch is None else float(epoch["valid_accuracy"])
        seconds = None if epoch is None else float(epoch["seconds"])
    whole = None not in (plan.epochs, plan.steps_per_epoch)
    with numbers_in(run, STEPS):
        return RunProgress(
            "training",
            int(step["step"]) + 1,
            plan.epochs * plan.steps_per_epoch if whole else None,  # type: ignore[operator]
            int(step["epoch"]),
            plan.epochs,
            float(step["train_loss"]),
            float(step["lr"]),
            accuracy,
            max(_changed(run, STEPS), _changed(run, EPOCHS)),
            seconds / plan.steps_per_epoch if seconds is not None and plan.steps_per_epoch else None,
        )


def _cells(run: RunDir) -> RunProgress:
    """Counts the cells of a sweep that have ended. How many a tuning will have depends on what it finds.

    A run without cells has not begun yet.
    """
    facts = [found for inner in _inner(run.path) if (found := _facts(inner)) is not None]
    if not facts and not (run.path / SWEEP_PLAN).is_file():
        return RunProgress()
    ended = sum(status_in(one) not in ("running", "interrupted") for one in facts)
    total = None
    if (run.path / SWEEP_PLAN).is_file():
        plan = run.read_json(SWEEP_PLAN)
        with numbers_in(run, SWEEP_PLAN):
            total = len(plan["variations"]) * (int(plan["repeats"]) if plan["mode"] == "train" else 1)
    return RunProgress("cells", ended, total)


def _changed(run: RunDir, name: str) -> float:
    try:
        return (run.path / name).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _inner(folder: Path) -> Iterator[Path]:
    """Yields the folders of runs in a folder, without hidden ones and those that a sweep has set aside."""
    paths: list[Path] = []
    with suppress(OSError):  # it is not there, or another person keeps it to themselves
        paths = sorted(folder.iterdir())
    for path in paths:
        if path.name[0] != "." and UNFINISHED not in path.name and _stamp(path / RUN):
            yield path


def _facts(path: Path) -> dict[str, Any] | None:
    """Returns the content of a `run.json`; None if it is damaged, or cannot be read."""
    with suppress(InputError, OSError):
        return RunDir(path).facts
    return None


@dataclass(frozen=True)
class WatchedRun:
    """A run that is or was running, as one look saw it: its name in the runs folder, its status, and its progress.

    `seconds_left` and `age`, the seconds since its last row, are of a running one only.
    """

    run: str
    command: str
    status: Status
    progress: RunProgress
    seconds_left: float | None
    age: float | None


class Watch:
    """Follows the running runs of a folder, also those inside sweeps. Those that end while they are followed stay.

    A `run.json` and a recipe are read again only after they have changed.
    """

    def __init__(self, runs_dir: Path) -> None:
        self._runs_dir = runs_dir
        self._facts: dict[Path, tuple[int, dict[str, Any] | None]] = {}
        self._plans: dict[Path, tuple[object, _Plan]] = {}
        self._begun: dict[Path, tuple[str, float, int]] = {}
        self._seen: dict[Path, WatchedRun] = {}

    def look(self) -> list[WatchedRun]:
        """Returns the runs in the order in which they began, as they are now."""
        found: dict[Path, dict[str, Any]] = {}
        for outer in _inner(self._runs_dir):
            for path in (outer, *self._cells_of(outer)):
                one = self._facts_of(path)
                if one is not None and (path in self._seen or one["status"] == "running"):
                    found[path] = one
        running = {path: facts for path, facts in found.items() if path in self._seen or status_in(facts) == "running"}
        self._seen = {path: self._look_at(path, facts) for path, facts in running.items()}
        return [self._seen[path] for path in sorted(self._seen, key=lambda path: order(running[path]))]

    def _cells_of(self, outer: Path) -> Iterator[Path]:
        """Yields the cells of a sweep that may be running: those of one that has ended are not looked at again."""
        facts = self._facts_of(outer)
        watched = any(path.parent == outer for path in self._seen)
        if watched or (facts is not None and facts["status"] == "running"):
            yield from _inner(outer)

    def _look_at(self, path: Path, facts: dict[str, Any]) -> WatchedRun:
        status, before = status_in(facts), self._seen.get(path)
        if before is not None and status == before.status != "running":
            return before
        run, name = RunDir(path), str(path.relative_to(self._runs_dir))
        try:
            progress = _progress(run, self._plan_of(run, facts))
        except (InputError, OSError):  # a file is damaged, or a cell is being set aside
            progress = RunProgress()
        if status != "running":
            return WatchedRun(name, facts["command"], status, progress, None, None)
        age = None if progress.updated is None else max(0.0, time.time() - progress.updated)
        left = progress.seconds_left(self._seconds_per_step(path, progress, time.monotonic()))
        return WatchedRun(name, facts["command"], status, progress, left, age)

    def _seconds_per_step(self, path: Path, progress: RunProgress, now: float) -> float | None:
        """Returns how long a step has taken since the first look at this work; None if that is too short a time."""
        if progress.work is None or progress.done is None:
            return None
        work, since, steps = self._begun.get(path, ("", now, 0))
        if work != progress.work or progress.done < steps:
            self._begun[path] = (progress.work, now, progress.done)
            return None
        enough = now - since >= ENOUGH_SECONDS and progress.done > steps
        return (now - since) / (progress.done - steps) if enough else None

    def _facts_of(self, path: Path) -> dict[str, Any] | None:
        changed = _stamp(path / RUN)
        known = self._facts.get(path)
        if known is None or known[0] != changed:
            known = self._facts[path] = changed, _facts(path)
        return known[1]

    def _plan_of(self, run: RunDir, facts: Mapping[str, Any]) -> _Plan:
        key = _stamp(run.path / RECIPE), str(facts.get("images"))
        known = self._plans.get(run.path)
        if known is None or known[0] != key:
            known = self._plans[run.path] = key, _plan(run, facts)
        return known[1]


def _stamp(path: Path) -> int:
    """Returns the time at which a file changed; 0 if there is none, or none that may be seen."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
