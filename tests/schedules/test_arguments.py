"""What an argument of a schedule may be: the borders, one by one."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.schedules.arguments import (
    check_factor,
    check_gamma,
    check_momentum,
    check_momentums,
    check_positive,
    check_steps,
)


def test_what_is_in_range_passes() -> None:
    check_steps(total_steps=1, step_size=np.int64(7))
    check_positive(max_lr=1e-30)
    check_factor(div_factor=1)
    check_momentum(momentum=0)
    check_momentums(0.9, 0.9)
    check_gamma(1)


@pytest.mark.parametrize(
    ("check", "says"),
    [
        (lambda: check_steps(total_steps=0), "total_steps is 0"),
        (lambda: check_steps(total_steps=5, step_size=-1), "step_size is -1"),
        (lambda: check_steps(total_steps=1.5), "total_steps is 1.5"),  # type: ignore[arg-type]
        (lambda: check_steps(total_steps="9"), "total_steps is '9'"),  # type: ignore[arg-type]
        (lambda: check_positive(max_lr=0.0), "max_lr is 0.0"),
        (lambda: check_positive(max_lr=math.inf), "max_lr is inf"),
        (lambda: check_factor(div_factor=0.999), "div_factor is 0.999"),
        (lambda: check_factor(div_factor=math.nan), "div_factor is nan"),
        (lambda: check_momentum(momentum=1), "momentum is 1"),
        (lambda: check_momentum(momentum=-0.1), "momentum is -0.1"),
        (lambda: check_momentums(0.8, 0.9), "base_momentum 0.9 is above max_momentum 0.8"),
        (lambda: check_gamma(0), "gamma is 0"),
        (lambda: check_gamma(1.1), "gamma is 1.1"),
    ],
)
def test_what_is_out_of_range_is_refused_with_its_name(check: Callable[[], None], says: str) -> None:
    with pytest.raises(InputError, match=says):
        check()
