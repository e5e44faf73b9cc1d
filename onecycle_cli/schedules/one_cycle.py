"""The 1cycle policy: lr rises, falls, and drops to almost zero in a last phase.

Each library puts the peak and the end at different steps, so each shape is named after the text or library that it
follows.
"""

import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal, NamedTuple, get_args

from onecycle_cli.errors import InputError
from onecycle_cli.schedules.arguments import check_factor, check_momentums, check_positive, check_steps
from onecycle_cli.schedules.lr_momentum import LrMomentum, Schedule, cosine, linear


@dataclass(frozen=True)
class Cycle:
    """The parameters that all shapes of the 1cycle policy share, with the names that torch uses."""

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
        """The lr that the tail approaches."""
        return self.initial_lr / self.final_div_factor


class _Phase(NamedTuple):
    """A phase of a cycle: the step, the lr and the momentum at its start and at its end."""

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
    """The number of steps on the way up and on the way down. The remaining steps are the tail."""

    up: int
    down: int


def equal_legs(cycle: Cycle) -> Legs:
    """Returns the legs of the blog: `floor(pct_start x total_steps)` steps up, and as many down.

    The product is rounded to nine decimals first: 0.29 x 100 is 28.999999999999996 in floating point, not 29.
    """
    leg = math.floor(round(cycle.pct_start * cycle.total_steps, 9))
    return Legs(leg, leg)


def blog_one_cycle(step: int, cycle: Cycle, legs: Legs) -> LrMomentum:
    """Returns lr and momentum in three linear phases: up, down, and a tail with constant momentum.

    Source: Gugger's "The 1cycle policy" and its notebook. The peak is at step `up`, lr is `initial_lr` again at
    step `up + down`, and the tail approaches `min_lr`, which step `total_steps` would reach.
    """
    back, high, low = legs.up + legs.down, cycle.max_momentum, cycle.base_momentum
    phases = [
        _Phase(0, legs.up, cycle.initial_lr, cycle.max_lr, high, low),
        _Phase(legs.up, back, cycle.max_lr, cycle.initial_lr, low, high),
        _Phase(back, cycle.total_steps, cycle.initial_lr, cycle.min_lr, high, high),
    ]
    return _in_phases(step, phases, linear)


def smith_one_cycle(step: int, cycle: Cycle, legs: Legs) -> LrMomentum:
    """Returns lr and momentum of Smith's solver files: up to `max_lr`, down to zero, then flat at `min_lr`.

    Momentum falls and rises over the legs, and continues to do so in the tail. Source: the logs of
    lnsmith54/hyperParam1 (`Cifar/results`: lr falls by 0.8 / 4003 at each step of the way down, then it is 8e-5, a
    thousandth of the initial 0.08, while momentum continues from 0.95). Unlike there, lr is never below `min_lr` on the
    way down, so that the tail has the lowest lr.
    """
    back, high, low = legs.up + legs.down, cycle.max_momentum, cycle.base_momentum
    down = cycle.max_lr * (back - step) / legs.down
    lr = linear(cycle.initial_lr, cycle.max_lr, step / legs.up) if step <= legs.up else max(down, cycle.min_lr)
    into = step % back
    position = into / legs.up if into <= legs.up else (back - into) / legs.down
    return LrMomentum(lr, linear(high, low, position))


def torch_one_cycle(step: int, cycle: Cycle, anneal_strategy: str, *, three_phase: bool) -> LrMomentum:
    """Returns lr and momentum of torch's `OneCycleLR`: peak at `pct_start x total_steps - 1`, `min_lr` at the end."""
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
    """Returns lr and momentum of fastai 2's `fit_one_cycle`: two cosine phases at position `step / total_steps`.

    fastai divides `max_lr` by its `div_final`; here, as in torch, `initial_lr` is divided by `final_div_factor`, so
    `div_final` is `div_factor x final_div_factor`.
    """
    high, low, peak = cycle.max_momentum, cycle.base_momentum, cycle.pct_start * cycle.total_steps
    phases = [
        _Phase(0, peak, cycle.initial_lr, cycle.max_lr, high, low),
        _Phase(peak, cycle.total_steps, cycle.max_lr, cycle.min_lr, low, high),
    ]
    return _in_phases(step, phases, cosine)


Shape = Literal["blog", "smith", "torch", "fastai"]
SHAPES: tuple[str, ...] = get_args(Shape)


def one_cycle(
    total_steps: int,
    max_lr: float,
    *,
    div_factor: float = 10.0,
    final_div_factor: float = 100.0,
    pct_start: float = 0.43,
    max_momentum: float = 0.95,
    base_momentum: float = 0.85,
    shape: Shape = "blog",
    legs: tuple[int, int] | None = None,
    anneal_strategy: Literal["cos", "linear"] = "cos",
    three_phase: bool = False,
) -> Schedule:
    """Builds a schedule of the 1cycle policy.

    lr rises to `max_lr`, falls, and drops to almost zero at the end. Momentum falls while lr rises, and rises while lr
    falls.

    Args:
        total_steps: Optimizer updates of the whole run.
        max_lr: The peak of lr.
        div_factor: lr starts at `initial_lr = max_lr / div_factor`.
        final_div_factor: lr ends near `min_lr = initial_lr / final_div_factor`.
        pct_start: The share of the steps on the way up, between 0 and 1. In the shapes "blog" and "smith", and in
            "torch" with `three_phase`, the way down is as long as the way up; the rest is the tail.
        max_momentum: The momentum (SGD) or beta1 (Adam) while lr is low.
        base_momentum: The momentum at the peak of lr. If equal to `max_momentum`, momentum is constant.
        shape: The source of the phases: "blog" (three linear phases, Gugger 2018), "smith" (Smith's runs, flat tail),
            "torch" (`OneCycleLR`, step by step) or "fastai" (`fit_one_cycle`, two cosine phases).
        legs: The steps up and the steps down, such as (430, 430), in place of `pct_start`; the rest is the tail. (Those
            of a recipe are in epochs.) Shapes "torch" and "fastai" ignore it.
        anneal_strategy: "cos" or "linear" for shape "torch"; the others ignore it.
        three_phase: Three phases instead of two for shape "torch"; the others ignore it.

    Returns:
        A function from a step, counted from 0, to its `LrMomentum`. From `total_steps` on, it returns its last value.

    Raises:
        InputError: An argument is out of range, or the run is too short for the phases.

    The defaults are those of the recipe `digits`, for every shape. The defaults of torch are `div_factor` 25,
    `final_div_factor` 1e4 and `pct_start` 0.3; those of fastai are 25, 4000 and 0.25.

    Sources: Smith, "A disciplined approach to neural network hyper-parameters" (arXiv 1803.09820); Gugger, "The 1cycle
    policy". docs/schedules.md draws the shapes.

    Examples:
        >>> schedule = one_cycle(1000, 0.8)
        >>> schedule(0), schedule(430)
        (LrMomentum(lr=0.08, momentum=0.95), LrMomentum(lr=0.8, momentum=0.85))
    """
    cycle = Cycle(total_steps, max_lr, div_factor, final_div_factor, pct_start, max_momentum, base_momentum)
    _check(cycle)
    if shape in ("blog", "smith"):
        at = _with_legs(shape, cycle, legs)
    elif shape == "torch":
        if anneal_strategy not in ANNEAL:
            raise InputError(f"anneal_strategy is {anneal_strategy!r}.", f"Give one of these: {', '.join(ANNEAL)}.")
        _check_torch_phases(cycle, three_phase=three_phase)
        at = partial(torch_one_cycle, cycle=cycle, anneal_strategy=anneal_strategy, three_phase=three_phase)
    elif shape == "fastai":
        at = partial(fastai_one_cycle, cycle=cycle)
    else:
        raise InputError(f"shape is {shape!r}.", f"Give one of these: {', '.join(SHAPES)}.")
    # torch's cycle ends at the last step, the others one step later.
    return partial(_held, at=at, last=total_steps - (shape == "torch"))


def _held(step: int, at: Schedule, last: int) -> LrMomentum:
    return at(min(step, last))


def _check(cycle: Cycle) -> None:
    check_steps(total_steps=cycle.total_steps)
    check_positive(max_lr=cycle.max_lr)
    check_factor(div_factor=cycle.div_factor, final_div_factor=cycle.final_div_factor)
    if not 0 < cycle.pct_start < 1:
        raise InputError(f"pct_start is {cycle.pct_start!r}.", "Give a share of the steps between 0 and 1.")
    check_momentums(cycle.max_momentum, cycle.base_momentum)


FIX = "Train for more steps, or change pct_start."


def _with_legs(shape: str, cycle: Cycle, given: tuple[int, int] | None) -> Schedule:
    if given is None:
        legs, told, fix = equal_legs(cycle), _climb(cycle), FIX
    else:
        legs, fix = _legs_of(given), "Train for more steps, or make the legs shorter."
        if min(legs) < 1:
            fix = "Give each leg at least one step."
        told = f"legs of {legs.up} steps up and {legs.down} down in {cycle.total_steps}"
    if min(legs) < 1 or sum(legs) > cycle.total_steps:
        raise InputError(
            f"{told}: shape '{shape}' needs at least one step up and one down, and both legs within the cycle.", fix
        )
    return partial(blog_one_cycle if shape == "blog" else smith_one_cycle, cycle=cycle, legs=legs)


def _legs_of(given: tuple[int, int]) -> Legs:
    try:
        up, down = map(operator.index, given)
    except (TypeError, ValueError):
        what = f"legs is {given!r}."
        raise InputError(what, "Give the steps up and the steps down, such as (430, 430).") from None
    return Legs(up, down)


def _check_torch_phases(cycle: Cycle, *, three_phase: bool) -> None:
    climb, told = cycle.pct_start * cycle.total_steps, _climb(cycle)
    # torch divides by climb - 1, the number of steps on its way up.
    if climb <= 1:
        raise InputError(f"{told}: the way up of shape 'torch' needs more than 1 step.", FIX)
    if (2 * climb - 2 if three_phase else climb - 1) >= cycle.total_steps - 1:
        raise InputError(f"{told}: shape 'torch' has no steps left to anneal.", FIX)


def _climb(cycle: Cycle) -> str:
    climb = cycle.pct_start * cycle.total_steps
    return f"pct_start {cycle.pct_start:g} x {cycle.total_steps} steps = {climb:g}"
