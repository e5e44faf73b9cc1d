"""Whether a range test still speaks for a recipe: the fields that change its curve, compared."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from onecycle_cli.recipe.fields import CHOICES, Recipe
from onecycle_cli.recipe.learning_rates import relative
from onecycle_cli.recipe.older_recipes import with_unused
from onecycle_cli.recipe.stages import last_stage
from onecycle_cli.recipe.writing import as_written

RELATIVE_MAX_LR = "schedule.max_lr, relative"

UNSAID: dict[str, Any] = {
    RELATIVE_MAX_LR: 1.0,
    "fine_tune.train_frozen_norms": False,
    "data.layout": "auto",
    "model.source": "onecycle",
    "optimizer.class_weights": "none",
    "model.pretrained": False,
}
"""What holds where a setting is not there: because it is plain, or because the run is older than the setting."""


@dataclass(frozen=True)
class Difference:
    """A setting of the range test (`there`) that is another in the recipe (`here`); None where it is not set."""

    field: str
    there: Any
    here: Any

    def __str__(self) -> str:
        return f"{self.field}: {as_written(self.there)} there, {as_written(self.here)} here"


def curve_settings(recipe: Recipe, precision: str) -> dict[str, Any]:
    """Every setting that changes the curve of a range test, by its dotted name; `precision` as it was resolved.

    The length of the run, the shape of the cycle and the seed do not: they change what is made of the curve, or which
    noise is on it. Of max_lr, only the ratios between the layer groups do; of several stages, the last. The values are
    JSON's, so that those read from a file compare equal.
    """
    sections = recipe.model_dump(mode="json", include={"data", "model", "optimizer"}, exclude={"data": {"mirrors"}})
    sections = {name: with_unused(name, fields) for name, fields in sections.items()}
    settings = {f"{section}.{name}": value for section, fields in sections.items() for name, value in fields.items()}
    settings["find_lr.momentum"] = finder_momentum(recipe)
    last = last_stage(recipe)
    ratios = relative(last.schedule.max_lr)
    if ratios is not None:
        settings[RELATIVE_MAX_LR] = ratios
    if last.fine_tune is not None and last.frozen:
        settings["fine_tune.freeze_to"] = last.fine_tune.stages[-1].freeze_to
        settings["fine_tune.train_frozen_norms"] = last.fine_tune.train_frozen_norms
    settings["runtime.precision"] = precision
    return settings


def result_settings(recipe: Recipe, precision: str) -> dict[str, Any]:
    """Every setting that changes the result of a training or of a range test, by its dotted name.

    As in `curve_settings`, with the schedule, the range test and the seed: two runs that share them all are the same.
    """
    sections = recipe.model_dump(mode="json", exclude={"name", "description", "seed", "sweep_wd", "runtime"})
    del sections["data"]["mirrors"]
    if sections["optimizer"]["class_weights"] == "none":
        del sections["optimizer"]["class_weights"]  # so that a sweep that is older than the field can go on
    there = {name: with_unused(name, fields) for name, fields in sections.items() if isinstance(fields, dict)}
    settings = {f"{section}.{name}": value for section, fields in there.items() for name, value in fields.items()}
    return settings | {"seed": recipe.seed, "runtime.precision": precision}


def finder_momentum(recipe: Recipe) -> float:
    """The constant momentum of the range test: `find_lr.momentum`, or else the schedule's `max_momentum`."""
    momentum = recipe.find_lr.momentum
    return recipe.schedule.max_momentum if momentum is None else momentum


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[Difference]:
    """The settings that differ, by name.

    A field that one of two policies, shapes or sources does not have is not named: the policy, shape or source is.
    """
    found, wanted = UNSAID | dict(found), UNSAID | dict(wanted)
    compared = {*found, *wanted} - _foreign(found) - _foreign(wanted)
    return [
        Difference(field, found.get(field), wanted.get(field))
        for field in sorted(compared)
        if found.get(field) != wanted.get(field)
    ]


def _foreign(settings: Mapping[str, Any]) -> set[str]:
    """The fields that the policy, shape or source in these settings does not have; older runs kept them too."""
    fields: set[str] = set()
    for section, choice in CHOICES.items():
        deciding = {name: settings.get(f"{section}.{name}") for name in choice.decided_by}
        variant = choice.chosen(deciding)
        if variant is not None:
            fields |= {f"{section}.{name}" for name in choice.foreign(variant)}
    return fields
