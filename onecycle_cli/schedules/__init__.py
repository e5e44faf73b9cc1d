"""Schedules: pure functions from a step to the learning rate and the momentum that its update uses.

`step` counts optimizer updates from 0 to `total_steps - 1`. Nothing is remembered between steps, so a dry run, a
plot and an exact resume are all the same call. `one_cycle.py` has the 1cycle policy in the shapes of those who wrote
it down, `cyclical.py` the many cycles before it, `decay.py` what it is compared with, `lrs_of_a_range.py` the range
test, `joined.py` puts one after another.
"""

from onecycle_cli.schedule.cyclical import triangular
from onecycle_cli.schedule.decay import constant, cosine, multistep
from onecycle_cli.schedule.epochs import check_batch_size, steps_per_epoch
from onecycle_cli.schedule.joined import joined
from onecycle_cli.schedule.lrs_of_a_range import Range
from onecycle_cli.schedule.one_cycle import Cycle, Legs, one_cycle
from onecycle_cli.schedule.values import LrMomentum, Schedule

__all__ = [
    "Cycle",
    "Legs",
    "LrMomentum",
    "Range",
    "Schedule",
    "check_batch_size",
    "constant",
    "cosine",
    "joined",
    "multistep",
    "one_cycle",
    "steps_per_epoch",
    "triangular",
]
