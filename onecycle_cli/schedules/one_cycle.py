"""The 1cycle policy: up, down, and a last phase that annihilates the learning rate.

Every library has its own clock for it (where the peak and the end fall), so each shape is named after the text or the
library that it follows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from onecycle_cli.errors import InputError
from onecycle_cli.schedules.lr_momentum import LrMomentum, Schedule, cosine, linear


@dataclass(frozen=True)
class Cycle:
    """What all shapes of the 1cycle policy share; the names are torch's."""

    total_steps: int
    max_lr: float
    div_factor: float
    final_div_factor: float
    pct_start: float
    max_momentum: float
    base_momentum: float

    @property
    def initial_lr(self) -> float:
        """The lr at step 0."""
        return self.max_lr / self.div_factor

    @property
    def min_lr(self) -> float:
        """The lr that the tail runs towards."""
        return self.initial_lr / self.final_div_factor


class _Phase(NamedTuple):
    """A leg of a cycle from `start` to `end`, in steps."""

    start: float
    end: float
    from_lr: float
    to_lr: float
    from_momentum: float
    to_momentum: float


ANNEAL = {"linear": linear, "cos": cosine}


def _in_phases(step: int, phases: list[_Phase], anneal: Callable[[float, float, float], float]) -> LrMomentum:
    phase = next((phase for phase in phases if step <= phase.end), phases[-1])
    position = (step - phase.start) / (phase.end - phase.start)
    return LrMomentum(
        anneal(phase.from_lr, phase.to_lr, position),
        anneal(phase.from_momentum, phase.to_momentum, position),
    )


class Legs(NamedTuple):
    """Steps on the way up and on the way down; those that are left are the tail."""

    up: int
    down: int


def equal_legs(cycle: Cycle) -> Legs:
    """The blog's legs: `floor(pct_start x total_steps)` steps up, and as many down.

    The product is rounded to nine decimals first: 0.29 x 100 is 28.999999999999996 in floating point, but 29 on paper.
    """
    leg = math.floor(round(cycle.pct_start * cycle.total_steps, 9))
    return Legs(leg, leg)


def blog_one_cycle(step: int, cycle: Cycle, legs: Legs) -> LrMomentum:
    """Three linear phases: up to `max_lr`, down again, then annihilated, with momentum held in the tail.

    Source: Gugger's "The 1cycle policy" and its notebook. The peak is at step `up`, `initial_lr` is back at step
    `up + down`, and the tail runs towards `min_lr`, which step `total_steps` would reach.
    """
    back, high, low = legs.up + legs.down, cycle.max_momentum, cycle.base_momentum
    phases = [
        _Phase(0, legs.up, cycle.initial_lr, cycle.max_lr, high, low),
        _Phase(legs.up, back, cycle.max_lr, cycle.initial_lr, low, high),
        _Phase(back, cycle.total_steps, cycle.initial_lr, cycle.min_lr, high, high),
    ]
    return _in_phases(step, phases, linear)


def smith_one_cycle(step: int, cycle: Cycle, legs: Legs) -> LrMomentum:
    """One cycle as Smith's own solver files run it: up to `max_lr`, down to zero, then flat at `min_lr`.

    Momentum goes down and up over the legs and keeps doing so in the tail. Source: the logs of lnsmith54/hyperParam1
    (`Cifar/results`: 0.8 / 4003 less at each step of the way down, then 8e-5, a thousandth of the initial 0.08, while
    momentum goes on from 0.95). On the way down lr is never below `min_lr` here, so that the tail is the end of it.
    """
    back, high, low = legs.up + legs.down, cycle.max_momentum, cycle.base_momentum
    down = cycle.max_lr * (back - step) / legs.down
    lr = linear(cycle.initial_lr, cycle.max_lr, step / legs.up) if step <= legs.up else max(down, cycle.min_lr)
    into = step % back
    position = into / legs.up if into <= legs.up else (back - into) / legs.down
    return LrMomentum(lr, linear(high, low, position))


def torch_one_cycle(step: int, cycle: Cycle, anneal_strategy: str, *, three_phase: bool) -> LrMomentum:
    """torch's `OneCycleLR` at each step: the peak at `pct_start x total_steps - 1`, `min_lr` at the last step."""
    high, low = cycle.max_momentum, cycle.base_momentum
    peak, end = cycle.pct_start * cycle.total_steps - 1, cycle.total_steps - 1
    phases = [_Phase(0, peak, cycle.initial_lr, cycle.max_lr, high, low)]
    if three_phase:
        back = 2 * cycle.pct_start * cycle.total_steps - 2
        phases.append(_Phase(peak, back, cycle.max_lr, cycle.initial_lr, low, high))
        phases.append(_Phase(back, end, cycle.initial_lr, cycle.min_lr, high, high))
    else:
        phases.append(_Phase(peak, end, cycle.max_lr, cycle.min_lr, low, high))
    return _in_phases(step, phases, ANNEAL[anneal_strategy])


def fastai_one_cycle(step: int, cycle: Cycle) -> LrMomentum:
    """fastai 2's `fit_one_cycle`: two cosine phases at position `step / total_steps`.

    fastai divides `max_lr` by its `div_final`; here, as in torch, `initial_lr` is divided by `final_div_factor`, so
    `div_final` is `div_factor x final_div_factor`.
    """
    high, low, peak = cycle.max_momentum, cycle.base_momentum, cycle.pct_start * cycle.total_steps
    phases = [
        _Phase(0, peak, cycle.initial_lr, cycle.max_lr, high, low),
        _Phase(peak, cycle.total_steps, cycle.max_lr, cycle.min_lr, low, high),
    ]
    return _in_phases(step, phases, cosine)


def one_cycle(
    shape: str, cycle: Cycle, *, legs: Legs | None = None, anneal_strategy: str = "cos", three_phase: bool = False
) -> Schedule:
    """The 1cycle policy as a function of the step, in the named `shape`: blog, smith, torch or fastai.

    `legs` say for blog and smith what `pct_start` says otherwise; `anneal_strategy` and `three_phase` belong to the
    torch shape alone. `InputError` where the cycle is too short to have the phases asked for.
    """
    if shape in ("blog", "smith"):
        return _with_legs(shape, cycle, legs)
    if shape == "torch":
        _check_torch_phases(cycle, three_phase=three_phase)
        return partial(torch_one_cycle, cycle=cycle, anneal_strategy=anneal_strategy, three_phase=three_phase)
    if shape == "fastai":
        return partial(fastai_one_cycle, cycle=cycle)
    raise ValueError(f"unknown shape {shape!r}")


FIX = "Train for more epochs, or change schedule.pct_start."


def _with_legs(shape: str, cycle: Cycle, legs: Legs | None) -> Schedule:
    if legs is None:
        legs, told = equal_legs(cycle), _climb(cycle)
    else:
        told = f"legs of {legs.up} steps up and {legs.down} down in {cycle.total_steps}"
    if min(legs) < 1 or sum(legs) > cycle.total_steps:
        raise InputError(
            f"{told}: the way up of shape '{shape}' takes at least one step, and the way down too, within the cycle.",
            FIX,
        )
    return partial(blog_one_cycle if shape == "blog" else smith_one_cycle, cycle=cycle, legs=legs)


def _check_torch_phases(cycle: Cycle, *, three_phase: bool) -> None:
    climb, told = cycle.pct_start * cycle.total_steps, _climb(cycle)
    # torch divides by climb - 1, the length of its way up.
    if climb <= 1:
        raise InputError(f"{told}: the way up of shape 'torch' needs more than 1 step.", FIX)
    if (2 * climb - 2 if three_phase else climb - 1) >= cycle.total_steps - 1:
        raise InputError(f"{told}: it leaves shape 'torch' no steps to anneal.", FIX)


def _climb(cycle: Cycle) -> str:
    climb = cycle.pct_start * cycle.total_steps
    return f"pct_start {cycle.pct_start:g} x {cycle.total_steps} steps = {climb:g}"
