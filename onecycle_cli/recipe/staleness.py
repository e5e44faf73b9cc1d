"""Whether a range test is still valid for a recipe: compares the settings that change its curve."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from onecycle_cli.recipe.augmentation_fields import OFF
from onecycle_cli.recipe.fields import CHOICES, Recipe
from onecycle_cli.recipe.learning_rates import relative
from onecycle_cli.recipe.older_recipes import with_unused
from onecycle_cli.recipe.stages import last_stage
from onecycle_cli.recipe.writing import as_written

RELATIVE_MAX_LR = "schedule.max_lr, relative"
"""The name of the setting for the ratios between the layer groups' lrs."""

UNSAID: dict[str, Any] = {
    RELATIVE_MAX_LR: 1.0,
    "fine_tune.train_frozen_norms": False,
    "data.layout": "auto",
    "data.resize": "shorter_side",
    "data.interpolation": None,
    "data.sampler": "shuffled",
    "data.accumulate": 1,
    "optimizer.max_grad_norm": None,
    "runtime.ema": None,
    "model.source": "onecycle",
    "optimizer.class_weights": "none",
    "model.norm": "batch",
    "model.pretrained": False,
    **{f"augmentation.{name}": off for name, off in OFF.items()},
}
"""The values of missing settings: they are omitted if they have this value, and in runs older than the setting."""

NEWER_OF_CURVES = (
    *("data.resize", "data.interpolation", "data.sampler", "data.accumulate"),
    *("model.norm", "optimizer.max_grad_norm"),
    *(f"augmentation.{name}" for name in OFF),
)
"""The fields that runs of older versions did not save, with the values in `UNSAID`."""

NEWER = (*NEWER_OF_CURVES, "optimizer.class_weights", "runtime.ema")
"""The same for the settings of a result; `optimizer.class_weights` was saved with a curve, but not with a result."""


@dataclass(frozen=True)
class Difference:
    """A setting with different values in the range test (`there`) and in the recipe (`here`); None if not set."""

    field: str
    there: Any
    here: Any

    def __str__(self) -> str:
        return f"{self.field}: {as_written(self.there)} there, {as_written(self.here)} here"


def curve_settings(recipe: Recipe, precision: str) -> dict[str, Any]:
    """Returns every setting that changes the curve of a range test, by dotted name. `precision` is the resolved one.

    The length of the run, the shape of the cycle and the seed are not included: they change how the curve is read, or
    its noise. Nor is the average of the weights, which a range test never uses. Of max_lr, only the ratios between the
    layer groups are included; of several stages, only the last one. The values are JSON values, so that settings read
    from a file compare equal.
    """
    sections = recipe.model_dump(mode="json", include={"data", "model", "optimizer"})
    settings = _without_newer(_dotted(sections) | _augmentation(recipe), NEWER_OF_CURVES)
    settings["find_lr.momentum"] = finder_momentum(recipe)
    last = last_stage(recipe)
    ratios = relative(last.schedule.max_lr)
    if ratios is not None:
        settings[RELATIVE_MAX_LR] = ratios
    if last.fine_tune is not None and last.fine_tune.stages[-1].freeze_to is not None:
        settings["fine_tune.freeze_to"] = last.fine_tune.stages[-1].freeze_to
        settings["fine_tune.train_frozen_norms"] = last.fine_tune.train_frozen_norms
    settings["runtime.precision"] = precision
    return settings


def result_settings(recipe: Recipe, precision: str) -> dict[str, Any]:
    """Returns every setting that changes the result of a training or a range test, by dotted name.

    These are the settings of `curve_settings` with those of the schedule, the range test, the average of the weights
    and the seed. Two runs with equal settings have the same result. `precision` is the resolved one.
    """
    left_out = {"name", "description", "seed", "augmentation", "sweep_wd", "runtime"}
    sections = recipe.model_dump(mode="json", exclude=left_out)
    there = {name: fields for name, fields in sections.items() if isinstance(fields, dict)}
    runtime = {"runtime.precision": precision, "runtime.ema": recipe.runtime.ema}
    return _without_newer(_dotted(there) | _augmentation(recipe) | {"seed": recipe.seed} | runtime, NEWER)


def _augmentation(recipe: Recipe) -> dict[str, Any]:
    """Returns the fields of `augmentation` by dotted name, without the preset, whose values are in the other fields."""
    fields = recipe.augmentation.model_dump(mode="json", exclude={"preset"}) if recipe.augmentation else {}
    return {f"augmentation.{name}": value for name, value in fields.items()}


def _without_newer(settings: dict[str, Any], newer: Collection[str]) -> dict[str, Any]:
    """Leaves out the fields `newer` where they have the value of older versions, which did not have them.

    A hash of the settings names the cells of a sweep, so one that an older version began can be resumed.
    """
    return {name: value for name, value in settings.items() if name not in newer or value != UNSAID[name]}


def _dotted(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Returns the fields of sections by dotted name, with those that older versions wrote for every variant.

    The mirrors of a download are left out: they do not change the images.
    """
    there = {name: with_unused(name, fields) for name, fields in sections.items()}
    settings = {f"{section}.{name}": value for section, fields in there.items() for name, value in fields.items()}
    del settings["data.mirrors"]
    return settings


def finder_momentum(recipe: Recipe) -> float:
    """Returns the constant momentum of the range test: `find_lr.momentum`, by default `schedule.max_momentum`."""
    momentum = recipe.find_lr.momentum
    return recipe.schedule.max_momentum if momentum is None else momentum


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> list[Difference]:
    """Returns the differences between the settings of a range test, `found`, and of a recipe, `wanted`, sorted by name.

    If the policy, shape or source differs, the fields that only one of the two has are not listed.
    """
    found, wanted = UNSAID | dict(found), UNSAID | dict(wanted)
    compared = {*found, *wanted} - _foreign(found) - _foreign(wanted)
    return [
        Difference(field, found.get(field), wanted.get(field))
        for field in sorted(compared)
        if found.get(field) != wanted.get(field)
    ]


def _foreign(settings: Mapping[str, Any]) -> set[str]:
    """Returns the fields that the policy, shape or source in `settings` does not have. Older runs saved them too."""
    fields: set[str] = set()
    for section, choice in CHOICES.items():
        deciding = {name: settings.get(f"{section}.{name}") for name in choice.decided_by}
        variant = choice.chosen(deciding)
        if variant is not None:
            fields |= {f"{section}.{name}" for name in choice.foreign(variant)}
    return fields
