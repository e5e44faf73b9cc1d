"""Reads range tests of earlier runs, and takes their suggestions for a recipe."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from onecycle_cli.analysis.lr_range import Curve, CyclePlan, VerificationCycle, suggest, verified
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.own_code import NETWORK_SHA256, own_code_settings
from onecycle_cli.recipe import Difference, Recipe, curve_settings, differences, last_stage, load, with_largest_max_lr
from onecycle_cli.run_dir.files import LR_RANGE, RECIPE, REPEAT, SUGGESTION, VERIFY
from onecycle_cli.run_dir.finding import find_run, latest_suggestions
from onecycle_cli.run_dir.run import RunDir


def suggestion_plan(recipe: Recipe, steps_per_epoch: int | None) -> CyclePlan:
    """Returns what a suggestion needs to know of the last stage of a recipe: its optimizer, div_factor and length.

    `steps_per_epoch` is None if it is unknown, as in range tests of older versions.
    """
    schedule = last_stage(recipe).schedule
    total_steps = None if steps_per_epoch is None else schedule.epochs * steps_per_epoch
    return CyclePlan(recipe.optimizer.name, schedule.start_divisor, total_steps)


@dataclass(frozen=True)
class SavedSuggestion:
    """The `max_lr` of a saved range test, read for a recipe, and the one (`then`) that it suggested when it ran."""

    max_lr: float
    then: float
    confidence: str
    reason: str


def suggested_max_lr(found: RunDir, recipe: Recipe) -> SavedSuggestion:
    """Reads the range test in `found` again, for the cycle of `recipe`. `InputError` if it gives no max_lr."""
    if not found.has(SUGGESTION):
        raise InputError(
            f"{found.path} holds no suggestion.",
            "Name a find-lr run, or a value's folder of a sweep, such as RUN/weight_decay=1e-3.",
        )
    saved = found.read_json(SUGGESTION)
    with numbers_in(found, SUGGESTION):
        then = None if saved["max_lr"] is None else float(saved["max_lr"])
        reason = saved["reason"]
        guess = None if saved.get("typical_max_lr") is None else float(saved["typical_max_lr"])
        steps_per_epoch = None if saved.get("steps_per_epoch") is None else int(saved["steps_per_epoch"])
    if then is None:
        hint = f" {guess:g} is a guess from the lr at which its loss explodes (typical_max_lr)." if guess else ""
        raise InputError(f"The range test in {found.path} gave no max_lr. {reason}", f"Give --max-lr.{hint}")
    again = suggest(saved_curves(found), suggestion_plan(recipe, steps_per_epoch))
    cycles = saved_cycles(found)
    if cycles and again.max_lr is not None:
        again = verified(again, cycles, div_factor=recipe.schedule.start_divisor)
    if again.max_lr is None:  # an older version read one, or the file has changed
        raise InputError(f"{found.path / LR_RANGE} gives no max_lr, read again. {again.refusal}", "Run find-lr again.")
    return SavedSuggestion(again.max_lr, then, str(again.confidence), again.reason)


@dataclass(frozen=True)
class TakenSuggestion:
    """A recipe with the max_lr of a range test that was run before, the run of that test, and what it says now."""

    recipe: Recipe
    run: RunDir
    suggestion: SavedSuggestion


def with_max_lr_from(
    recipe: Recipe, source: str, *, runs_dir: Path, precision: str, force: bool = False
) -> TakenSuggestion:
    """Takes max_lr from a range test that was run before.

    `source` is the folder of a range test, its name in `runs_dir`, or "latest": the newest range test in `runs_dir` for
    a recipe of this name that ran under its settings. `InputError` where there is none, or where its settings differ
    from those of `recipe` and `precision`, which `force` accepts.
    """
    named = latest_suggestions(runs_dir, recipe.name) if source == "latest" else [find_run(runs_dir, source)]
    found = next((run for run in named if not stale_settings(run, recipe, precision)), named[0])
    saved, stale = suggested_max_lr(found, recipe), stale_settings(found, recipe, precision)
    if stale and not force:
        listed = "\n".join(f"  {setting}" for setting in stale)
        raise InputError(
            f"The range test in {found.path} ran under other settings, so its max_lr may be wrong here:\n{listed}",
            "Run find-lr again with these settings, or take it all the same with --force; in Python, force=True.",
        )
    return TakenSuggestion(with_largest_max_lr(recipe, saved.max_lr), found, saved)


def saved_curves(found: RunDir, *, growing: bool = False) -> list[Curve]:
    """Reads the curve of each repeat in `lr_range.csv`. With `growing`, an unfinished or missing file is accepted."""
    rows = found.read_growing_table(LR_RANGE) if growing else found.read_table(LR_RANGE)
    with numbers_in(found, LR_RANGE):
        return [
            Curve([_lr(row["lr"]) for row in test], [float(row["train_loss"]) for row in test])
            for test in (list(rows) for _, rows in groupby(rows, key=_seed))
        ]


def _lr(text: str) -> float:
    if not 0 < (lr := float(text)) < math.inf:
        raise ValueError(f"{text} is no lr")
    return lr


def _seed(row: dict[str, str]) -> str | None:
    return row.get("seed")  # runs of older versions have no such column


def saved_cycles(found: RunDir) -> list[VerificationCycle]:
    """Reads the short cycles in `verify.csv` that have ended; none if there is no such file."""
    rows = found.read_growing_table(VERIFY)
    with numbers_in(found, VERIFY):
        return [
            VerificationCycle(
                float(row["max_lr"]), int(row["steps"]), float(row["valid_loss"]), float(row["valid_accuracy"])
            )
            for row in rows
        ]


@contextmanager
def numbers_in(found: RunDir, name: str) -> Iterator[None]:
    """Turns a missing column, or text instead of a number, inside the block into an `InputError`."""
    try:
        yield
    except KeyError as error:
        raise InputError(f"{found.path / name} is damaged: it has no {error}.", REPEAT) from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{found.path / name} is damaged: {error}.", REPEAT) from None


def stale_settings(found: RunDir, recipe: Recipe, precision: str) -> list[Difference]:
    """Returns the settings that change the curve and differ between the range test in `found` and `recipe`."""
    tested = found.read_json(SUGGESTION).get("curve_settings")
    if tested is None:  # runs of older versions did not keep them
        tested = curve_settings(load(found.intact(RECIPE)), found.facts["precision"])
    here = curve_settings(recipe, precision)
    if NETWORK_SHA256 in found.facts:
        tested, here = tested | {NETWORK_SHA256: found.facts[NETWORK_SHA256]}, here | own_code_settings(recipe)
    return differences(tested, here)
