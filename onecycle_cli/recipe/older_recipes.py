"""Recipes of older versions, whose sections had the fields of all variants: how they are read and compared now."""

from collections.abc import Mapping
from typing import Any

from onecycle_cli.recipe.variants import Choice

FLAT_FIELDS: dict[str, dict[str, Any]] = {
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
"""Each field that a section had whatever its variant, with the value that older versions wrote where it was not used.

A new variant adds nothing here: older versions did not have its fields.
"""

DUMPED = {"anneal_strategy", "three_phase", "mode"}
"""The fields of several schedules that older versions wrote into each run's `recipe.yaml`; nobody else writes all."""


def without_unused(section: str, values: Mapping[Any, Any], choice: Choice) -> dict[Any, Any]:
    """The values of a section without the fields of other variants that older versions wrote and did not use.

    These are fields that are null or have their former default. A whole section that an older version wrote into a
    run's folder may hold other values too: `--set schedule.policy=cosine` left the fields of the cycle in it.
    """
    variant = choice.chosen(values)
    if variant is None:
        return dict(values)
    flat, foreign = FLAT_FIELDS[section], choice.foreign(variant)
    is_dump = values.keys() >= DUMPED and len(DUMPED & foreign) > 1

    def is_unused(name: object, value: object) -> bool:
        return name in foreign and (is_dump or value is None or (name in flat and _same(value, flat[str(name)])))

    own = {name: value for name, value in values.items() if not is_unused(name, value)}
    return choice.defaults(variant) | own


def _same(one: object, other: object) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def with_unused(section: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a section with those fields again, so that what a run of an older version kept compares equal."""
    return FLAT_FIELDS.get(section, {}) | dict(values)
