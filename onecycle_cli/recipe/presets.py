"""The named sweeps that Smith's report recommends."""

from collections.abc import Mapping, Sequence
from typing import Any


def _momentum(max_momentum: float, base_momentum: float) -> dict[str, Any]:
    return {"schedule.max_momentum": max_momentum, "schedule.base_momentum": base_momentum}


PRESETS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "momentum": [*(_momentum(constant, constant) for constant in (0.99, 0.97, 0.95, 0.9)), _momentum(0.95, 0.85)],
}
"""The values of each cell, by the name of the preset.

momentum: short runs with four constant momentums, and one with a cyclical momentum (Smith's report, section 4.3 and
remark 3).
"""
