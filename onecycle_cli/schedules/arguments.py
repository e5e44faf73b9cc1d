"""Checks of the arguments of schedules. An `InputError` names the argument that is out of range and the valid range."""

import math
from typing import SupportsIndex

from onecycle_cli.errors import InputError


def check_steps(**named: SupportsIndex) -> None:
    """Checks that each argument is a whole number of steps, at least 1."""
    for name, steps in named.items():
        if not (isinstance(steps, SupportsIndex) and int(steps) >= 1):
            raise InputError(f"{name} is {steps!r}.", "Give a whole number of optimizer steps, at least 1.")


def check_positive(**named: float) -> None:
    """Checks that each argument is finite and above 0."""
    for name, value in named.items():
        if not 0 < value < math.inf:
            raise InputError(f"{name} is {value!r}.", "Give a finite number above 0.")


def check_factor(**named: float) -> None:
    """Checks that each argument is a valid divisor of an lr: finite and at least 1."""
    for name, factor in named.items():
        if not 1 <= factor < math.inf:
            raise InputError(f"{name} is {factor!r}.", "Give the number to divide the lr by, at least 1.")


def check_momentums(max_momentum: float, base_momentum: float) -> None:
    """Checks that both momentums are valid, and that the one at the peak of lr is not the larger one."""
    check_momentum(max_momentum=max_momentum, base_momentum=base_momentum)
    if base_momentum > max_momentum:
        raise InputError(
            f"base_momentum {base_momentum!r} is above max_momentum {max_momentum!r}.",
            "base_momentum is the momentum at the peak of lr: momentum falls as lr rises.",
        )


def check_momentum(**named: float) -> None:
    """Checks that each argument is a momentum: at least 0 and below 1."""
    for name, momentum in named.items():
        if not 0 <= momentum < 1:
            raise InputError(f"{name} is {momentum!r}.", "Give a number of at least 0 and below 1, such as 0.9.")


def check_gamma(gamma: float) -> None:
    """Checks that `gamma` is a valid factor of an lr: above 0 and at most 1."""
    if not 0 < gamma <= 1:
        raise InputError(f"gamma is {gamma!r}.", "Give the number to multiply the lr by, above 0 and at most 1.")
