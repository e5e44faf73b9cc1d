"""What a recipe tells a suggestion, and what a range test that was run before says for the recipe at hand."""

from dataclasses import dataclass
from itertools import groupby

from onecycle_cli.errors import InputError
from onecycle_cli.lr_range import Curve, Plan, suggest
from onecycle_cli.recipe import Difference, Recipe, curve_settings, differences, finder_momentum, load
from onecycle_cli.run_dir.files import LR_RANGE, RECIPE, SUGGESTION
from onecycle_cli.run_dir.run import RunDir


def suggestion_plan(recipe: Recipe) -> Plan:
    """What a suggestion has to know of the run that the recipe plans."""
    return Plan(
        optimizer=recipe.optimizer.name,
        finder_momentum=finder_momentum(recipe),
        base_momentum=recipe.schedule.base_momentum,
        div_factor=recipe.schedule.div_factor,
    )


@dataclass(frozen=True)
class SavedSuggestion:
    """The `max_lr` that a curve gives for a recipe, and the one it gave (`then`) for the recipe it was run with."""

    max_lr: float
    then: float


def suggested_max_lr(found: RunDir, recipe: Recipe) -> SavedSuggestion:
    """Reads the range test in `found` again, for the cycle that `recipe` plans; `InputError` where there is no number.

    What was verified with cycles of their own (`find-lr --verify`) is taken as it is.
    """
    if not (found.path / SUGGESTION).is_file():
        raise InputError(
            f"{found.path} holds no suggestion.",
            "Name a find-lr run, or a value's folder of a sweep, such as RUN/weight_decay=1e-3.",
        )
    saved = found.read_json(SUGGESTION)
    if saved["max_lr"] is None:
        raise InputError(f"The range test in {found.path} gave no max_lr. {saved['reason']}", "Give --max-lr.")
    again = suggest(saved_curves(found), suggestion_plan(recipe))
    if again.max_lr is None:  # the file was written to since
        raise InputError(f"{found.path / LR_RANGE} gives no max_lr any more. {again.reason}", "Run find-lr again.")
    return SavedSuggestion(again.max_lr, float(saved["max_lr"]))


def saved_curves(found: RunDir) -> list[Curve]:
    """The curve of each repeat in `lr_range.csv`."""
    rows = found.read_table(LR_RANGE)
    return [
        Curve([float(row["lr"]) for row in test], [float(row["train_loss"]) for row in test])
        for test in (list(rows) for _, rows in groupby(rows, key=lambda row: row["seed"]))
    ]


def stale_settings(found: RunDir, recipe: Recipe, precision: str) -> list[Difference]:
    """The settings that change the curve and differ between the test in `found` and `recipe`."""
    tested = found.read_json(SUGGESTION).get("curve_settings")
    if tested is None:  # a run of before they were kept
        tested = curve_settings(load(found.path / RECIPE), found.facts["precision"])
    return differences(tested, curve_settings(recipe, precision))
