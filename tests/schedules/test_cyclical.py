"""Cyclical learning rates against values worked out by hand and against torch's scheduler."""

import warnings
from typing import Any, Literal

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.errors import InputError
from onecycle_cli.schedules import LrMomentum, triangular

Mode = Literal["triangular", "triangular2", "exp_range"]
ENDS: dict[str, Any] = {"max_lr": 1.0, "div_factor": 5, "step_size": 2, "max_momentum": 0.95, "base_momentum": 0.85}


@pytest.mark.parametrize(
    ("mode", "lrs", "momentums"),
    [
        ("triangular", [0.2, 0.6, 1.0, 0.6, 0.2, 0.6, 1.0], [0.95, 0.9, 0.85, 0.9, 0.95, 0.9, 0.85]),
        ("triangular2", [0.2, 0.6, 1.0, 0.6, 0.2, 0.4, 0.6], [0.95, 0.9, 0.85, 0.9, 0.95, 0.925, 0.9]),
        # Heights of 0, 1/2, 1, 1/2, 0, 1/2, 1 times 1, 1/2, 1/4, ...
        (
            "exp_range",
            [0.2, 0.4, 0.4, 0.25, 0.2, 0.2125, 0.2125],
            [0.95, 0.925, 0.925, 0.94375, 0.95, 0.9484375, 0.9484375],
        ),
    ],
)
def test_every_step_of_two_short_cycles_is_as_worked_out_by_hand(
    mode: Mode, lrs: list[float], momentums: list[float]
) -> None:
    at = triangular(**ENDS, mode=mode, gamma=0.5)
    assert [at(step).lr for step in range(7)] == pytest.approx(lrs, rel=1e-12)
    assert [at(step).momentum for step in range(7)] == pytest.approx(momentums, rel=1e-12)


@given(
    max_lr=st.floats(1e-3, 10),
    divisor=st.floats(1, 30),
    step_size=st.integers(1, 50),
    mode=st.sampled_from(["triangular", "triangular2", "exp_range"]),
    gamma=st.floats(0.9, 1),
)
def test_it_equals_torchs_scheduler_at_every_step(
    max_lr: float, divisor: float, step_size: int, mode: Mode, gamma: float
) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
    oracle = torch.optim.lr_scheduler.CyclicLR(
        optimizer,
        base_lr=max_lr / divisor,
        max_lr=max_lr,
        step_size_up=step_size,
        mode=mode,
        gamma=gamma,
        base_momentum=0.85,
        max_momentum=0.95,
    )
    expected = []
    for _ in range(130):
        group = optimizer.param_groups[0]
        expected.append(LrMomentum(group["lr"], group["momentum"]))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the optimizer was not stepped
            oracle.step()
    at = triangular(
        max_lr=max_lr,
        div_factor=divisor,
        step_size=step_size,
        max_momentum=0.95,
        base_momentum=0.85,
        mode=mode,
        gamma=gamma,
    )
    assert [at(step).lr for step in range(130)] == pytest.approx([value.lr for value in expected], rel=1e-9)
    assert [at(step).momentum for step in range(130)] == pytest.approx([v.momentum for v in expected], rel=1e-9)


def test_smiths_first_experiment_has_its_turns_where_his_solver_file_says() -> None:
    # arXiv 1506.01186, section 4.1.1: CIFAR-10, 0.001 to 0.006, stepsize 2,000.
    at = triangular(max_lr=0.006, div_factor=6, step_size=2000, max_momentum=0.9, base_momentum=0.9)
    assert [at(step).lr for step in (0, 2000, 4000, 5000)] == pytest.approx([0.001, 0.006, 0.001, 0.0035])
    assert {at(step).momentum for step in range(0, 8000, 100)} == {0.9}


def test_after_thousands_of_cycles_half_the_height_each_time_is_none() -> None:
    at = triangular(max_lr=1, div_factor=10, step_size=2, max_momentum=0.95, base_momentum=0.85, mode="triangular2")
    assert at(4 * 5000 + 2) == LrMomentum(0.1, 0.95)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"step_size": 0}, "step_size is 0"),
        ({"max_lr": -1}, "max_lr is -1"),
        ({"div_factor": 0}, "div_factor is 0"),
        ({"max_momentum": 0.5}, "base_momentum 0.85 is above max_momentum 0.5"),
        ({"gamma": 2}, "gamma is 2"),
        ({"mode": "saw"}, r"mode is 'saw'\.\n.*triangular, triangular2, exp_range"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InputError, match=says):
        triangular(**({"step_size": 10, "max_lr": 1.0} | given))


def test_the_defaults_are_a_tenth_and_a_cycling_momentum() -> None:
    assert [triangular(10, 1.0)(step) for step in (0, 10, 20)] == [(0.1, 0.95), (1.0, 0.85), (0.1, 0.95)]
