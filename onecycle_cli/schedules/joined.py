"""Schedules one after another."""

from collections.abc import Sequence

from onecycle_cli.schedules.lr_momentum import LrMomentum, Schedule


def joined(parts: Sequence[tuple[int, Schedule]]) -> Schedule:
    """One schedule of several, each for so many steps, each with steps of its own from 0; the last one goes on."""
    *before, (_, last) = parts

    def at(step: int) -> LrMomentum:
        for steps, schedule in before:
            if step < steps:
                return schedule(step)
            step -= steps
        return last(step)

    return at
