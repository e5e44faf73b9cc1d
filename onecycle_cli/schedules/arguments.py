"""What the arguments of a schedule may be: an `InputError` names the one that is out of range, and how to fix it."""

import math
from typing import SupportsIndex

from onecycle_cli.errors import InputError


def check_steps(**named: SupportsIndex) -> None:
    """Each is a whole number of steps, at least 1."""
    for name, steps in named.items():
        if not (isinstance(steps, SupportsIndex) and int(steps) >= 1):
            raise InputError(f"{name} is {steps!r}.", "Give a whole number of optimizer steps, at least 1.")


def check_positive(**named: float) -> None:
    """Each is finite and above 0."""
    for name, value in named.items():
        if not 0 < value < math.inf:
            raise InputError(f"{name} is {value!r}.", "Give a finite number above 0.")


def check_factor(**named: float) -> None:
    """Each is what an lr is divided by, at least 1."""
    for name, factor in named.items():
        if not 1 <= factor < math.inf:
            raise InputError(f"{name} is {factor!r}.", "Give what the lr is divided by: a number from 1 up.")


def check_momentums(max_momentum: float, base_momentum: float) -> None:
    """Both are momentums, and the one at the peak of lr is not the larger one."""
    check_momentum(max_momentum=max_momentum, base_momentum=base_momentum)
    if base_momentum > max_momentum:
        raise InputError(
            f"base_momentum {base_momentum!r} is above max_momentum {max_momentum!r}.",
            "base_momentum is that at the peak of lr: momentum falls as lr rises.",
        )


def check_momentum(**named: float) -> None:
    """Each is a momentum: from 0 up to below 1."""
    for name, momentum in named.items():
        if not 0 <= momentum < 1:
            raise InputError(f"{name} is {momentum!r}.", "Give a number from 0 up to below 1, such as 0.9.")


def check_gamma(gamma: float) -> None:
    """What an lr is multiplied by: above 0, at most 1."""
    if not 0 < gamma <= 1:
        raise InputError(f"gamma is {gamma!r}.", "Give what the lr is multiplied by: above 0, at most 1.")
