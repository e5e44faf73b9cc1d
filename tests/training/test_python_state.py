"""What a call of a network changes besides the values of its tensors."""

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from onecycle_cli.training.python_state import python_state


class Layer(nn.Module):
    """A layer that does something at each call."""

    mean: Tensor

    def __init__(self, does: Callable[["Layer"], object]) -> None:
        super().__init__()
        self.does, self.calls = does, 0
        self.seen: list[int] = []
        self.register_buffer("mean", torch.zeros(2))

    def forward(self, x: Tensor) -> Tensor:
        self.does(self)
        return x


def counts(layer: Layer) -> None:
    layer.calls += 1


def remembers(layer: Layer) -> None:
    layer.seen.append(1)


def replaces(layer: Layer) -> None:
    layer.old, layer.mean = layer.mean, layer.mean * 0.9


@pytest.mark.parametrize(
    "does", [counts, remembers, replaces, lambda _: random.random(), lambda _: np.random.rand()], ids=range(5)
)
def test_a_call_that_changes_it_is_seen(does: Callable) -> None:
    model = nn.Sequential(Layer(does))
    before = python_state(model)
    assert python_state(model) == before
    model(torch.zeros(1))
    assert python_state(model) != before


def test_new_values_in_the_same_tensors_change_nothing() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5))
    before = python_state(model)
    for _ in range(2):
        model(torch.rand(2, 1, 4, 4)).sum().backward()
    assert python_state(model) == before
