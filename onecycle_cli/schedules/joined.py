"""A schedule that runs several schedules one after another."""

from collections.abc import Sequence

from onecycle_cli.schedules.lr_momentum import LrMomentum, Schedule


def joined(parts: Sequence[tuple[int, Schedule]]) -> Schedule:
    """Joins schedules to one that runs them one after another.

    Each part is a number of steps and a schedule, which sees its own steps from 0. The last schedule continues without
    end.
    """
    *before, (_, last) = parts

    def at(step: int) -> LrMomentum:
        for steps, schedule in before:
            if step < steps:
                return schedule(step)
            step -= steps
        return last(step)

    return at
