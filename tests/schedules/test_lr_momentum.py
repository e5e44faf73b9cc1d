"""The ways from one value to another."""

from collections.abc import Callable

import pytest

from onecycle_cli.schedules.lr_momentum import cosine, linear


@pytest.mark.parametrize("way", [linear, cosine])
def test_a_way_has_both_ends_and_its_middle(way: Callable[[float, float, float], float]) -> None:
    assert [way(1.0, 3.0, position) for position in (0, 0.5, 1)] == pytest.approx([1, 2, 3])


def test_a_cosine_sets_out_slowly() -> None:
    # (1 - cos(45 degrees)) / 2
    assert cosine(0, 1, 0.25) == pytest.approx(0.1464466)
