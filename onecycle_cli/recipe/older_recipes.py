"""Recipes of older versions, whose sections had the fields of all variants: how to read and compare them."""

from collections.abc import Mapping
from typing import Any

from onecycle_cli.recipe.variants import Choice

FLAT_FIELDS: dict[str, dict[str, Any]] = {
    "data": {"path": None, "layout": "auto", "mirrors": []},
    "schedule": {
        **dict.fromkeys(("shape", "div_factor", "final_div_factor", "pct_start", "legs", "base_momentum")),
        "anneal_strategy": "cos",
        "three_phase": False,
        **dict.fromkeys(("step_size", "step_size_epochs")),
        "mode": "triangular",
        **dict.fromkeys(("milestones", "gamma")),
    },
    "model": {"width": 1.0, "shortcut": "B", "pretrained": False},
}
"""The fields that older versions wrote for every variant of a section, with their value when unused.

A new variant adds nothing here, because older versions did not have its fields.
"""

DUMPED = {"schedule": {"anneal_strategy", "three_phase", "mode"}, "data": {"layout", "mirrors"}, "model": set()}
"""The fields that mark a section of a `recipe.yaml` of an older version, by section.

They belong to different variants, so people do not write all of them.
"""


def without_unused(section: str, values: Mapping[Any, Any], choice: Choice) -> dict[Any, Any]:
    """Removes the unused fields of other variants that older versions wrote into a section.

    A field of another variant is unused if it is null or has its former default. In a section that an older version
    wrote into a run's folder, it may have any value: `--set schedule.policy=cosine` kept the fields of the cycle, and
    `--set data.source=digits` the path of the folder.
    """
    variant = choice.chosen(values)
    if variant is None:
        return dict(values)
    flat, foreign = FLAT_FIELDS[section], choice.foreign(variant)
    marks = DUMPED[section]
    is_dump = bool(marks) and values.keys() >= marks and len(marks & foreign) >= len(marks) - 1

    def is_unused(name: object, value: object) -> bool:
        return name in foreign and (is_dump or value is None or (name in flat and _same(value, flat[str(name)])))

    own = {name: value for name, value in values.items() if not is_unused(name, value)}
    return choice.defaults(variant) | own


def _same(one: object, other: object) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def with_unused(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Adds the unused fields of older versions to a section, so that it compares equal to one of an older version."""
    return FLAT_FIELDS.get(section, {}) | dict(values)
