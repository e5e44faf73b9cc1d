"""How many steps an epoch has."""

import math

import pytest

from onecycle_cli.data.epochs import steps_per_epoch


@pytest.mark.parametrize(
    ("images", "batch_size", "drop_last", "steps"),
    [(50_000, 512, False, 98), (50_000, 512, True, 97), (10, 5, False, 2), (11, 5, False, 2), (12, 5, False, 3)],
)
def test_an_epoch_counts_its_short_batch_unless_dropped_or_a_single_image(
    images: int, batch_size: int, drop_last: bool, steps: int
) -> None:
    assert steps_per_epoch(images, batch_size, drop_last=drop_last) == steps
    assert math.ceil(images / batch_size) >= steps
