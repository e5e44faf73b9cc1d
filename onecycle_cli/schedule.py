"""Schedules: pure functions from a step to the learning rate and the momentum that its update uses.

`step` counts optimizer updates from 0 to `total_steps - 1`. Nothing is remembered between steps, so a dry run, a
plot and an exact resume are all the same call. Every library has its own clock for the 1cycle policy (where the
peak and the end fall), so each shape is named after the text or the library that it follows.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from onecycle_cli.errors import InputError


class LrMomentum(NamedTuple):
    """The hyper-parameters of one update; `momentum` is SGD's momentum or Adam's beta1."""

    lr: float
    momentum: float


Schedule = Callable[[int], LrMomentum]


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


def _linear(start: float, end: float, position: float) -> float:
    return start + (end - start) * position


def _cosine(start: float, end: float, position: float) -> float:
    return end + (start - end) / 2.0 * (1.0 + math.cos(math.pi * position))


ANNEAL = {"linear": _linear, "cos": _cosine}


def _in_phases(step: int, phases: list[_Phase], anneal: Callable[[float, float, float], float]) -> LrMomentum:
    phase = next((phase for phase in phases if step <= phase.end), phases[-1])
    position = (step - phase.start) / (phase.end - phase.start)
    return LrMomentum(
        anneal(phase.from_lr, phase.to_lr, position),
        anneal(phase.from_momentum, phase.to_momentum, position),
    )


def blog_leg(cycle: Cycle) -> int:
    """Steps from the start of the blog's cycle to its peak: `floor(pct_start x total_steps)`.

    The product is rounded to nine decimals first: 0.29 x 100 is 28.999999999999996 in floating point, but 29 on paper.
    """
    return math.floor(round(cycle.pct_start * cycle.total_steps, 9))


def blog_one_cycle(step: int, cycle: Cycle) -> LrMomentum:
    """Three linear phases: up to `max_lr`, down as long, then annihilated, with momentum held in the tail.

    Source: Gugger's "The 1cycle policy" and its notebook. With c = `blog_leg`, the peak is at step c, `initial_lr` is
    back at step 2c, and the tail runs towards `min_lr`, which step `total_steps` would reach.
    """
    leg, high, low = blog_leg(cycle), cycle.max_momentum, cycle.base_momentum
    phases = [
        _Phase(0, leg, cycle.initial_lr, cycle.max_lr, high, low),
        _Phase(leg, 2 * leg, cycle.max_lr, cycle.initial_lr, low, high),
        _Phase(2 * leg, cycle.total_steps, cycle.initial_lr, cycle.min_lr, high, high),
    ]
    return _in_phases(step, phases, _linear)


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
    return _in_phases(step, phases, _cosine)


def one_cycle(shape: str, cycle: Cycle, *, anneal_strategy: str = "cos", three_phase: bool = False) -> Schedule:
    """The 1cycle policy as a function of the step, in the named `shape`: blog, torch or fastai.

    `anneal_strategy` and `three_phase` belong to the torch shape alone. `InputError` where the cycle is too short to
    have the phases asked for.
    """
    climb = cycle.pct_start * cycle.total_steps
    numbers = f"pct_start {cycle.pct_start:g} x {cycle.total_steps} steps = {climb:g}"
    mend = "Train for more epochs, or change schedule.pct_start."
    if shape == "blog":
        if not 1 <= blog_leg(cycle) <= cycle.total_steps / 2:
            raise InputError(
                f"{numbers}: the way up of shape 'blog' takes at least one step and at most half of the cycle.", mend
            )
        return partial(blog_one_cycle, cycle=cycle)
    if shape == "torch":
        # torch divides by climb - 1, the length of its way up.
        if climb <= 1:
            raise InputError(f"{numbers}: the way up of shape 'torch' needs more than 1 step.", mend)
        if (2 * climb - 2 if three_phase else climb - 1) >= cycle.total_steps - 1:
            raise InputError(f"{numbers}: it leaves shape 'torch' no steps to anneal.", mend)
        return partial(torch_one_cycle, cycle=cycle, anneal_strategy=anneal_strategy, three_phase=three_phase)
    if shape == "fastai":
        return partial(fastai_one_cycle, cycle=cycle)
    raise ValueError(f"unknown shape {shape!r}")


@dataclass(frozen=True)
class Range:
    """The learning rates of a range test: `num_steps` from `start_lr` to `end_lr`; mode "exponential" or "linear".

    A test that has to go on does so from `end_lr` to ten times as much, in `further_steps` more.
    """

    start_lr: float
    end_lr: float
    num_steps: int
    mode: str

    def lr(self, step: int) -> float:
        """The lr at `step`; exponential is `start_lr x (end_lr / start_lr) ** (step / (num_steps - 1))`."""
        last = self.num_steps - 1
        if step > last:
            start, end, position = self.end_lr, 10 * self.end_lr, (step - last) / self.further_steps
        else:
            start, end, position = self.start_lr, self.end_lr, step / last
        if self.mode == "exponential":
            return float(start * (end / start) ** position)
        return _linear(start, end, position)

    @property
    def further_steps(self) -> int:
        """Steps from `end_lr` to ten times as much: an exponential test keeps its pace, but takes no more than before.

        At its own pace a linear test would take nine times as long, one over a hundredth of a decade a hundred times.
        """
        if self.mode == "linear":
            return self.num_steps
        return min(self.num_steps, math.ceil((self.num_steps - 1) / math.log10(self.end_lr / self.start_lr)))


def check_batch_size(batch_size: int, images: int) -> None:
    """Refuses a batch that the training images cannot fill."""
    if batch_size > images:
        raise InputError(
            f"data.batch_size {batch_size} is larger than the {images} training images.",
            f"Set data.batch_size to at most {images}.",
        )


def steps_per_epoch(images: int, batch_size: int, *, drop_last: bool) -> int:
    """Batches in an epoch of `images` images; a last batch of a single image is never one."""
    whole, left = divmod(images, batch_size)
    return whole + (left > 1 and not drop_last)
