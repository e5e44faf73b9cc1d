"""Schedules without a cycle, against values worked out by hand and against torch's schedulers."""

import warnings
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.errors import InputError
from onecycle_cli.schedules import constant, cosine, multistep


def of_torch(make: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler], steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    oracle = make(optimizer)
    lrs = []
    for _ in range(steps):
        lrs.append(optimizer.param_groups[0]["lr"])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the optimizer was not stepped
            oracle.step()
    return lrs


def test_a_constant_schedule_says_the_same_at_every_step() -> None:
    assert {constant(max_lr=0.1, momentum=0.9)(step) for step in range(50)} == {(0.1, 0.9)}


def test_the_original_resnets_lr_falls_where_he_et_al_say() -> None:
    at = multistep(max_lr=0.1, milestones=[32_000, 48_000], gamma=0.1, momentum=0.9)
    steps = (0, 31_999, 32_000, 47_999, 48_000, 63_999)
    assert [at(step).lr for step in steps] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])
    assert at(40_000).momentum == 0.9


@given(milestones=st.lists(st.integers(1, 60), min_size=1, max_size=4), gamma=st.floats(0.05, 1))
def test_multistep_equals_torchs_scheduler_at_every_step(milestones: list[int], gamma: float) -> None:
    expected = of_torch(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, milestones=milestones, gamma=gamma), 60)
    at = multistep(max_lr=1.0, milestones=milestones, gamma=gamma, momentum=0.9)
    assert [at(step).lr for step in range(60)] == pytest.approx(expected, rel=1e-9)


def test_every_step_of_a_short_cosine_is_as_worked_out_by_hand() -> None:
    at = cosine(max_lr=1.0, min_lr=0.0, total_steps=4, momentum=0.9)
    assert [at(step).lr for step in range(4)] == pytest.approx([1, (1 + 0.5**0.5) / 2, 0.5, (1 - 0.5**0.5) / 2])


@given(total_steps=st.integers(2, 80), min_lr=st.floats(0, 0.1))
def test_cosine_equals_torchs_scheduler_at_every_step(total_steps: int, min_lr: float) -> None:
    expected = of_torch(
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, total_steps, eta_min=min_lr), total_steps
    )
    at = cosine(max_lr=1.0, min_lr=min_lr, total_steps=total_steps, momentum=0.9)
    # torch goes from one value to the next by multiplication, and gathers rounding on the way.
    assert [at(step).lr for step in range(total_steps)] == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(total_steps=st.integers(1, 100), further=st.integers(0, 1000))
def test_cosine_stays_at_its_least_lr_past_its_end(total_steps: int, further: int) -> None:
    assert cosine(total_steps, 1.0, min_lr=0.1)(total_steps + further) == (pytest.approx(0.1), 0.9)


def test_the_defaults_are_those_of_plain_training() -> None:
    assert constant(0.1)(5) == (0.1, 0.9)
    assert [multistep(1.0, [2])(step) for step in (1, 2)] == [(1.0, 0.9), (0.1, 0.9)]
    assert cosine(10, 1.0)(10) == (0.0, 0.9)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: constant(0), "max_lr is 0"),
        (lambda: constant(0.1, momentum=1), "momentum is 1"),
        (lambda: multistep(0.1, [5, 0]), r"milestones\[1\] is 0"),
        (lambda: multistep(0.1, [5], gamma=0), "gamma is 0"),
        (lambda: multistep(0.1, [5], momentum=-1), "momentum is -1"),
        (lambda: cosine(0, 0.1), "total_steps is 0"),
        (lambda: cosine(10, 0.1, min_lr=0.2), r"min_lr is 0\.2\.\nGive a number from 0 to max_lr, 0\.1"),
        (lambda: cosine(10, 0.1, min_lr=float("nan")), "min_lr is nan"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(make: Callable[[], object], says: str) -> None:
    with pytest.raises(InputError, match=says):
        make()
