"""The 1cycle policy against golden values worked out by hand, against torch's scheduler, and as properties."""

import inspect
import json
import math
import pickle
import warnings
from dataclasses import asdict, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.errors import InputError
from onecycle_cli.recipe import load, shipped_path
from onecycle_cli.schedules import Legs, LrMomentum, Schedule, one_cycle
from onecycle_cli.schedules.one_cycle import SHAPES, Cycle

E1 = Cycle(9310, 0.8, 10, 100, 0.4316, 0.95, 0.85)

cycles = st.builds(
    Cycle,
    total_steps=st.integers(40, 400),
    max_lr=st.floats(1e-4, 10),
    div_factor=st.floats(1, 30),
    final_div_factor=st.floats(1, 1e5),
    pct_start=st.floats(0.1, 0.45),
    max_momentum=st.floats(0.9, 0.99),
    base_momentum=st.floats(0, 0.9),
)
shapes = st.sampled_from(
    [
        ("blog", {}),
        ("smith", {}),
        ("fastai", {}),
        *(("torch", {"anneal_strategy": a, "three_phase": t}) for a in ("cos", "linear") for t in (False, True)),
    ]
)


def made(shape: Any, cycle: Cycle, **options: Any) -> Schedule:
    return one_cycle(**asdict(cycle), shape=shape, **options)


def values(schedule: Schedule, total_steps: int) -> list[LrMomentum]:
    return [schedule(step) for step in range(total_steps)]


def approx(expected: list[float]) -> object:
    return pytest.approx(expected, rel=1e-12)


def test_every_step_of_a_short_blog_cycle_is_as_worked_out_by_hand() -> None:
    # N = 10, c = floor(0.4 x 10) = 4: up by a quarter of 0.9 a step, down the same, then 0.1 x (1 - 0.9 x (i - 8) / 2).
    got = values(made("blog", Cycle(10, 1.0, 10, 10, 0.4, 0.95, 0.85)), 10)
    assert [v.lr for v in got] == approx([0.1, 0.325, 0.55, 0.775, 1.0, 0.775, 0.55, 0.325, 0.1, 0.055])
    assert [v.momentum for v in got] == approx([0.95, 0.925, 0.9, 0.875, 0.85, 0.875, 0.9, 0.925, 0.95, 0.95])


def test_legs_of_different_lengths_turn_where_they_say() -> None:
    # Two steps up by 0.45, four down by 0.225, then 0.1 x (1 - 0.9 x (i - 6) / 4).
    got = values(made("blog", Cycle(10, 1.0, 10, 10, 0.4, 0.95, 0.85), legs=(2, 4)), 10)
    assert [v.lr for v in got] == approx([0.1, 0.55, 1.0, 0.775, 0.55, 0.325, 0.1, 0.0775, 0.055, 0.0325])
    assert [v.momentum for v in got] == approx([0.95, 0.9, 0.85, 0.875, 0.9, 0.925, 0.95, 0.95, 0.95, 0.95])


def test_every_step_of_a_short_smith_cycle_is_as_worked_out_by_hand() -> None:
    # Legs of 3: up by 0.3 a step, down by 1 / 3 to zero, then flat at 0.1 / 1000, with momentum going on.
    got = values(made("smith", Cycle(10, 1.0, 10, 1000, 0.3, 0.95, 0.8)), 10)
    assert [v.lr for v in got] == approx([0.1, 0.4, 0.7, 1.0, 2 / 3, 1 / 3, 1e-4, 1e-4, 1e-4, 1e-4])
    assert [v.momentum for v in got] == approx([0.95, 0.9, 0.85, 0.8, 0.85, 0.9, 0.95, 0.9, 0.85, 0.8])


def test_the_smith_shape_has_the_values_of_his_published_log() -> None:
    # ResNet-56, 0.08 to 0.8 over a stepsize of 4,003: 0.8 / 4003 less a step on the way down, then 8e-5, while momentum
    # falls again from 0.95.
    at = made("smith", Cycle(9300, 0.8, 10, 1000, 4003 / 9300, 0.95, 0.85))
    assert at(4003) == (0.8, pytest.approx(0.85))
    assert at(4003).lr - at(4004).lr == pytest.approx(0.8 / 4003)
    assert [at(step).lr for step in range(8006, 9300)] == approx([8e-5] * 1294)
    assert [at(step).momentum for step in (8006, 9299)] == approx([0.95, 0.95 - 0.1 * 1293 / 4003])


def test_every_step_of_a_short_fastai_cycle_is_as_worked_out_by_hand() -> None:
    # Position i / 4, peak at 2: half a cosine from 0.1 to 1 over two steps, then half a cosine from 1 to 0.01.
    got = values(made("fastai", Cycle(4, 1.0, 10, 10, 0.5, 0.95, 0.85)), 4)
    assert [v.lr for v in got] == approx([0.1, 0.55, 1.0, 0.505])
    assert [v.momentum for v in got] == approx([0.95, 0.9, 0.85, 0.9])


def test_the_seed_experiment_peaks_and_ends_where_its_notebook_does() -> None:
    at = made("blog", E1)
    assert at(0) == (pytest.approx(0.08), 0.95)
    assert at(4018) == LrMomentum(0.8, 0.85)
    assert at(8036).lr == pytest.approx(0.08)
    assert at(9309).lr == pytest.approx(0.000862, abs=5e-7)
    assert {at(step).momentum for step in range(8036, 9310)} == {0.95}
    assert max(range(9310), key=lambda step: at(step).lr) == 4018


def test_a_product_that_floating_point_puts_just_below_a_whole_number_is_that_number() -> None:
    assert 0.29 * 100 < 29
    at = made("blog", Cycle(100, 1.0, 10, 10, 0.29, 0.95, 0.85))
    assert at(29).lr == 1.0


@given(
    cycle=cycles,
    anneal_strategy=st.sampled_from(["cos", "linear"]),
    three_phase=st.booleans(),
)
def test_the_torch_shape_equals_torchs_scheduler_at_every_step(
    cycle: Cycle, anneal_strategy: Literal["cos", "linear"], three_phase: bool
) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    oracle = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=cycle.max_lr,
        total_steps=cycle.total_steps,
        pct_start=cycle.pct_start,
        anneal_strategy=anneal_strategy,
        base_momentum=cycle.base_momentum,
        max_momentum=cycle.max_momentum,
        div_factor=cycle.div_factor,
        final_div_factor=cycle.final_div_factor,
        three_phase=three_phase,
    )
    expected = []
    for _ in range(cycle.total_steps):
        group = optimizer.param_groups[0]
        expected.append((group["lr"], group["momentum"]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the optimizer was not stepped, and that the last step is the last
            oracle.step() if len(expected) < cycle.total_steps else None
    ours = values(made("torch", cycle, anneal_strategy=anneal_strategy, three_phase=three_phase), cycle.total_steps)
    # The last steps are many orders below max_lr, so only a relative comparison sees them.
    assert [v.lr for v in ours] == pytest.approx([lr for lr, _ in expected], rel=1e-9, abs=1e-12 * cycle.max_lr)
    assert [v.momentum for v in ours] == pytest.approx([m for _, m in expected], rel=1e-9)


@given(cycle=cycles, shape=shapes)
def test_lr_stays_between_its_bounds_and_momentum_runs_against_it(cycle: Cycle, shape: tuple[str, dict]) -> None:
    got = values(made(shape[0], cycle, **shape[1]), cycle.total_steps)
    slack = 1e-9
    assert all(cycle.min_lr * (1 - slack) <= v.lr <= cycle.max_lr * (1 + slack) for v in got)
    assert all(cycle.base_momentum - slack <= v.momentum <= cycle.max_momentum + slack for v in got)
    # Each shape has its peak somewhere in the step before this position. Smith's momentum goes on in the tail.
    peak = cycle.pct_start * cycle.total_steps
    cycling = got[: int(2 * peak) - 1] if shape[0] == "smith" else got
    for step, (before, after) in enumerate(pairwise(cycling)):
        if step + 1 <= peak - 1:
            assert after.lr >= before.lr * (1 - slack)
            assert after.momentum <= before.momentum + slack
        elif step >= peak:
            assert after.lr <= before.lr * (1 + slack)
            assert after.momentum >= before.momentum - slack


@given(cycle=cycles, shape=shapes)
def test_every_shape_starts_at_initial_lr_with_high_momentum(cycle: Cycle, shape: tuple[str, dict]) -> None:
    first = made(shape[0], cycle, **shape[1])(0)
    assert first == (pytest.approx(cycle.initial_lr), pytest.approx(cycle.max_momentum))


@given(cycle=cycles, shape=shapes, factor=st.floats(0.1, 10))
def test_a_schedule_scales_with_max_lr(cycle: Cycle, shape: tuple[str, dict], factor: float) -> None:
    once = values(made(shape[0], cycle, **shape[1]), cycle.total_steps)
    scaled = replace(cycle, max_lr=factor * cycle.max_lr)
    again = values(made(shape[0], scaled, **shape[1]), cycle.total_steps)
    assert [v.lr for v in again] == pytest.approx([factor * v.lr for v in once], rel=1e-9)


def test_equal_momentums_are_a_constant_momentum() -> None:
    at = made("blog", Cycle(100, 0.8, 10, 100, 0.45, 0.9, 0.9))
    assert {round(v.momentum, 12) for v in values(at, 100)} == {0.9}


@pytest.mark.parametrize("legs", [Legs(0, 5), Legs(5, 0), Legs(6, 5)])
@pytest.mark.parametrize("shape", ["blog", "smith"])
def test_legs_that_do_not_fit_into_the_cycle_are_refused(shape: str, legs: Legs) -> None:
    with pytest.raises(InputError, match=f"legs of {legs.up} steps up and {legs.down} down in 10"):
        made(shape, Cycle(10, 1.0, 10, 10, 0.4, 0.95, 0.85), legs=legs)


@pytest.mark.parametrize("legs", [5, "ab", (1, 2, 3), (2.5, 4), ("a", "b"), (math.nan, 4)])
def test_legs_that_are_not_two_numbers_of_steps_are_refused(legs: Any) -> None:
    with pytest.raises(InputError, match="legs is"):
        one_cycle(10, 1.0, legs=legs)


def test_legs_may_be_any_pair_of_whole_numbers() -> None:
    expected = values(one_cycle(10, 1.0, legs=(2, 4)), 10)
    also: Any = ([2, 4], np.array([2, 4]))
    for legs in also:
        assert values(one_cycle(10, 1.0, legs=legs), 10) == expected
    with pytest.raises(InputError, match="Give each leg at least one step"):
        one_cycle(10, 1.0, legs=(0, 4))


@pytest.mark.parametrize(
    ("shape", "steps", "pct_start", "options", "says"),
    [
        ("blog", 10, 0.05, {}, "pct_start 0.05 x 10 steps = 0.5"),
        ("torch", 10, 0.1, {}, "pct_start 0.1 x 10 steps = 1:"),
        ("torch", 2, 0.9, {"three_phase": True}, "no steps left to anneal"),
    ],
)
def test_a_cycle_too_short_for_its_phases_is_refused_with_both_numbers(
    shape: str, steps: int, pct_start: float, options: dict, says: str
) -> None:
    with pytest.raises(InputError, match=says.replace(".", r"\.")):
        made(shape, Cycle(steps, 1.0, 10, 10, pct_start, 0.95, 0.85), **options)


def test_the_defaults_are_those_of_the_shipped_recipes() -> None:
    digits = load(shipped_path("digits")).schedule
    fields = ("div_factor", "final_div_factor", "pct_start", "max_momentum", "base_momentum", "shape")
    defaults = {name: inspect.signature(one_cycle).parameters[name].default for name in fields}
    assert defaults == {name: getattr(digits, name) for name in fields}
    at = one_cycle(1000, 0.8)
    assert at(0) == (pytest.approx(0.08), 0.95)
    assert at(430) == LrMomentum(0.8, 0.85)
    assert at(860) == (pytest.approx(0.08), 0.95)
    assert at(1000).lr == pytest.approx(0.0008)


@given(cycle=cycles, shape=shapes, further=st.integers(1, 1000))
def test_past_its_end_a_schedule_keeps_its_last_value(cycle: Cycle, shape: tuple[str, dict], further: int) -> None:
    at = made(shape[0], cycle, **shape[1])
    past = at(cycle.total_steps + further)
    assert past == at(cycle.total_steps)
    assert past.lr == pytest.approx(cycle.min_lr, rel=1e-6, abs=1e-12 * cycle.max_lr)
    if shape[0] == "torch":
        assert past == at(cycle.total_steps - 1)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"total_steps": 0}, r"total_steps is 0\.\nGive a whole number of optimizer steps"),
        ({"total_steps": 10.0}, "total_steps is 10.0"),
        ({"max_lr": 0}, "max_lr is 0"),
        ({"max_lr": math.nan}, "max_lr is nan"),
        ({"div_factor": 0.5}, "div_factor is 0.5"),
        ({"final_div_factor": math.inf}, "final_div_factor is inf"),
        ({"pct_start": 1.0}, "pct_start is 1.0"),
        ({"max_momentum": 1.0}, "max_momentum is 1.0"),
        ({"max_momentum": 0.8}, r"base_momentum 0\.85 is above max_momentum 0\.8\."),
        ({"shape": "triangle"}, f"shape is 'triangle'.*\n.*{', '.join(SHAPES)}"),
        ({"shape": "torch", "anneal_strategy": "exp"}, "anneal_strategy is 'exp'.*\\n.*linear, cos"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        one_cycle(**({"total_steps": 100, "max_lr": 0.8} | given))


@given(cycle=cycles, shape=shapes)
def test_a_schedule_can_be_pickled(cycle: Cycle, shape: tuple[str, dict]) -> None:
    at = made(shape[0], cycle, **shape[1])
    assert pickle.loads(pickle.dumps(at))(7) == at(7)


def test_the_fastai_shape_equals_fastais_own_function_at_every_step() -> None:
    recorded = json.loads((Path(__file__).parent.parent / "golden" / "peers.json").read_text())["fastai_cycle"]
    got = values(made("fastai", Cycle(20, 1.0, 10, 100, 0.3, 0.95, 0.85)), 20)
    # fastai keeps the bounds of its phases in float32.
    assert [v.lr for v in got] == pytest.approx(recorded["lrs"], rel=1e-6)
    assert [v.momentum for v in got] == pytest.approx(recorded["momentums"], rel=1e-6)
