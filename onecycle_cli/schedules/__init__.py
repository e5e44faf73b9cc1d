"""Schedules: pure functions from a step to the learning rate and the momentum that its update uses.

`step` counts optimizer updates from 0 to `total_steps - 1`. No state is kept between steps, so a dry
run, a plot and an exact resume are the same call. `one_cycle.py` has the 1cycle policy in its published shapes,
`cyclical.py` repeated cycles, `decay.py` schedules to compare with, `range_test_lrs.py` the lr range test. `joined.py`
runs one schedule after another, and `arguments.py` checks arguments.
"""

from onecycle_cli.schedules.cyclical import triangular
from onecycle_cli.schedules.decay import constant, cosine, multistep
from onecycle_cli.schedules.joined import joined
from onecycle_cli.schedules.lr_momentum import LrMomentum, Schedule
from onecycle_cli.schedules.one_cycle import Legs, Shape, one_cycle
from onecycle_cli.schedules.range_test_lrs import Range

__all__ = [
    "Legs",
    "LrMomentum",
    "Range",
    "Schedule",
    "Shape",
    "constant",
    "cosine",
    "joined",
    "multistep",
    "one_cycle",
    "triangular",
]
