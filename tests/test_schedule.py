"""Schedules against golden values worked out by hand, against torch's scheduler, and as properties."""

import json
import math
import warnings
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.errors import InputError
from onecycle_cli.schedule import Cycle, LrMomentum, Range, Schedule, one_cycle, steps_per_epoch

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
        ("fastai", {}),
        *(("torch", {"anneal_strategy": a, "three_phase": t}) for a in ("cos", "linear") for t in (False, True)),
    ]
)


def values(schedule: Schedule, total_steps: int) -> list[LrMomentum]:
    return [schedule(step) for step in range(total_steps)]


def approx(expected: list[float]) -> object:
    return pytest.approx(expected, rel=1e-12)


def test_every_step_of_a_short_blog_cycle_is_as_worked_out_by_hand() -> None:
    # N = 10, c = floor(0.4 x 10) = 4: up by a quarter of 0.9 a step, down the same, then 0.1 x (1 - 0.9 x (i - 8) / 2).
    got = values(one_cycle("blog", Cycle(10, 1.0, 10, 10, 0.4, 0.95, 0.85)), 10)
    assert [v.lr for v in got] == approx([0.1, 0.325, 0.55, 0.775, 1.0, 0.775, 0.55, 0.325, 0.1, 0.055])
    assert [v.momentum for v in got] == approx([0.95, 0.925, 0.9, 0.875, 0.85, 0.875, 0.9, 0.925, 0.95, 0.95])


def test_every_step_of_a_short_fastai_cycle_is_as_worked_out_by_hand() -> None:
    # Position i / 4, peak at 2: half a cosine from 0.1 to 1 over two steps, then half a cosine from 1 to 0.01.
    got = values(one_cycle("fastai", Cycle(4, 1.0, 10, 10, 0.5, 0.95, 0.85)), 4)
    assert [v.lr for v in got] == approx([0.1, 0.55, 1.0, 0.505])
    assert [v.momentum for v in got] == approx([0.95, 0.9, 0.85, 0.9])


def test_the_seed_experiment_peaks_and_ends_where_its_notebook_does() -> None:
    at = one_cycle("blog", E1)
    assert at(0) == LrMomentum(pytest.approx(0.08), 0.95)
    assert at(4018) == LrMomentum(0.8, 0.85)
    assert at(8036).lr == pytest.approx(0.08)
    assert at(9309).lr == pytest.approx(0.000862, abs=5e-7)
    assert {at(step).momentum for step in range(8036, 9310)} == {0.95}
    assert max(range(9310), key=lambda step: at(step).lr) == 4018


def test_a_product_that_floating_point_puts_just_below_a_whole_number_is_that_number() -> None:
    assert 0.29 * 100 < 29
    at = one_cycle("blog", Cycle(100, 1.0, 10, 10, 0.29, 0.95, 0.85))
    assert at(29).lr == 1.0


@given(
    cycle=cycles,
    anneal_strategy=st.sampled_from(["cos", "linear"]),
    three_phase=st.booleans(),
)
def test_the_torch_shape_equals_torchs_scheduler_at_every_step(
    cycle: Cycle, anneal_strategy: str, three_phase: bool
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
    ours = values(
        one_cycle("torch", cycle, anneal_strategy=anneal_strategy, three_phase=three_phase), cycle.total_steps
    )
    # The last steps are many orders below max_lr, so only a relative comparison sees them.
    assert [v.lr for v in ours] == pytest.approx([lr for lr, _ in expected], rel=1e-9, abs=1e-12 * cycle.max_lr)
    assert [v.momentum for v in ours] == pytest.approx([m for _, m in expected], rel=1e-9)


@given(cycle=cycles, shape=shapes)
def test_lr_stays_between_its_bounds_and_momentum_runs_against_it(cycle: Cycle, shape: tuple[str, dict]) -> None:
    got = values(one_cycle(shape[0], cycle, **shape[1]), cycle.total_steps)
    slack = 1e-9
    assert all(cycle.min_lr * (1 - slack) <= v.lr <= cycle.max_lr * (1 + slack) for v in got)
    assert all(cycle.base_momentum - slack <= v.momentum <= cycle.max_momentum + slack for v in got)
    # Each shape has its peak somewhere in the step before this position.
    peak = cycle.pct_start * cycle.total_steps
    for step, (before, after) in enumerate(pairwise(got)):
        if step + 1 <= peak - 1:
            assert after.lr >= before.lr * (1 - slack)
            assert after.momentum <= before.momentum + slack
        elif step >= peak:
            assert after.lr <= before.lr * (1 + slack)
            assert after.momentum >= before.momentum - slack


@given(cycle=cycles, shape=shapes)
def test_every_shape_starts_at_initial_lr_with_high_momentum(cycle: Cycle, shape: tuple[str, dict]) -> None:
    first = one_cycle(shape[0], cycle, **shape[1])(0)
    assert first == LrMomentum(pytest.approx(cycle.initial_lr), pytest.approx(cycle.max_momentum))


@given(cycle=cycles, shape=shapes, factor=st.floats(0.1, 10))
def test_a_schedule_scales_with_max_lr(cycle: Cycle, shape: tuple[str, dict], factor: float) -> None:
    once = values(one_cycle(shape[0], cycle, **shape[1]), cycle.total_steps)
    scaled = replace(cycle, max_lr=factor * cycle.max_lr)
    again = values(one_cycle(shape[0], scaled, **shape[1]), cycle.total_steps)
    assert [v.lr for v in again] == pytest.approx([factor * v.lr for v in once], rel=1e-9)


def test_equal_momentums_are_a_constant_momentum() -> None:
    at = one_cycle("blog", Cycle(100, 0.8, 10, 100, 0.45, 0.9, 0.9))
    assert {round(v.momentum, 12) for v in values(at, 100)} == {0.9}


@pytest.mark.parametrize(
    ("shape", "steps", "pct_start", "options", "says"),
    [
        ("blog", 10, 0.05, {}, "pct_start 0.05 x 10 steps = 0.5"),
        ("torch", 10, 0.1, {}, "pct_start 0.1 x 10 steps = 1:"),
        ("torch", 2, 0.9, {"three_phase": True}, "no steps to anneal"),
    ],
)
def test_a_cycle_too_short_for_its_phases_is_refused_with_both_numbers(
    shape: str, steps: int, pct_start: float, options: dict, says: str
) -> None:
    with pytest.raises(InputError, match=says.replace(".", r"\.")):
        one_cycle(shape, Cycle(steps, 1.0, 10, 10, pct_start, 0.95, 0.85), **options)


def test_an_exponential_range_has_both_ends_and_equal_ratios() -> None:
    lrs = [Range(1e-4, 10, 6, "exponential").lr(step) for step in range(6)]
    assert lrs == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1, 10])


def test_a_linear_range_has_both_ends_and_equal_steps() -> None:
    assert [Range(1, 2, 5, "linear").lr(step) for step in range(5)] == pytest.approx([1, 1.25, 1.5, 1.75, 2])


@given(
    start=st.floats(1e-8, 1e-3),
    ratio=st.floats(1.001, 1e6),
    num_steps=st.integers(10, 500),
    mode=st.sampled_from(["exponential", "linear"]),
)
def test_a_range_that_goes_on_ends_at_ten_times_its_end_and_takes_no_longer_than_before(
    start: float, ratio: float, num_steps: int, mode: str
) -> None:
    lrs = Range(start, start * ratio, num_steps, mode)
    total = num_steps + lrs.further_steps
    assert total <= 2 * num_steps
    assert lrs.lr(total - 1) == pytest.approx(10 * lrs.end_lr)
    assert all(lrs.lr(step) < lrs.lr(step + 1) for step in range(total - 1))


def test_an_exponential_range_goes_on_at_its_own_pace() -> None:
    lrs = Range(1e-4, 10, 101, "exponential")
    assert lrs.further_steps == 20
    ratios = [lrs.lr(step + 1) / lrs.lr(step) for step in range(120)]
    assert ratios == pytest.approx([10 ** (5 / 100)] * 120)


@pytest.mark.parametrize(
    ("images", "batch_size", "drop_last", "steps"),
    [(50_000, 512, False, 98), (50_000, 512, True, 97), (10, 5, False, 2), (11, 5, False, 2), (12, 5, False, 3)],
)
def test_an_epoch_counts_its_short_batch_unless_dropped_or_a_single_image(
    images: int, batch_size: int, drop_last: bool, steps: int
) -> None:
    assert steps_per_epoch(images, batch_size, drop_last=drop_last) == steps
    assert math.ceil(images / batch_size) >= steps


def test_the_fastai_shape_equals_fastais_own_function_at_every_step() -> None:
    recorded = json.loads((Path(__file__).parent / "golden" / "peers.json").read_text())["fastai_cycle"]
    got = values(one_cycle("fastai", Cycle(20, 1.0, 10, 100, 0.3, 0.95, 0.85)), 20)
    # fastai keeps the bounds of its phases in float32.
    assert [v.lr for v in got] == pytest.approx(recorded["lrs"], rel=1e-6)
    assert [v.momentum for v in got] == pytest.approx(recorded["momentums"], rel=1e-6)
