"""The state of a network besides the values of its tensors, which a CUDA graph reads only when it is recorded."""

import random
from collections.abc import Sized

import numpy as np
from torch import Tensor, nn


def random_state() -> tuple[object, ...]:
    """Returns the states of the random generators of Python and NumPy, to be compared."""
    name, keys, position, *normal = np.random.get_state(legacy=True)
    return random.getstate(), name, np.asarray(keys).tobytes(), position, *normal


def python_state(model: nn.Module) -> list[object]:
    """Returns what a call of a network may change besides values of its tensors, to be compared before and after one.

    That is: plain attributes of its modules, the lengths of their lists, the addresses of their tensors, and the random
    generators of Python and NumPy. A network that changes any of it in each call does something else in each call, or
    keeps what it computed in new tensors; a replay of a recorded call would not.
    """
    state: list[object] = [random_state()]
    for module in model.modules():
        for name, value in vars(module).items():
            values = value.items() if name in ("_parameters", "_buffers") else ((name, value),)
            state += [(inner, _seen(one)) for inner, one in values]
    return state


def _seen(value: object) -> object:
    if isinstance(value, Tensor):
        return value.data_ptr(), tuple(value.shape)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return id(value), len(value) if isinstance(value, Sized) else None
