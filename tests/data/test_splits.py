"""Holding out a part of the training images."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.data.images import Split
from onecycle_cli.data.splits import held_out_size, hold_out
from onecycle_cli.errors import InputError


def numbered(*per_class: int) -> Split:
    """Images whose first pixel tells their place."""
    labels = np.repeat(np.arange(len(per_class)), per_class)
    return Split(np.arange(len(labels), dtype=np.uint8).reshape(-1, 1, 1, 1), labels)


def places(split: Split) -> list[int]:
    return split.images.ravel().tolist()


@given(fraction=st.floats(0.15, 0.8), seed=st.integers(0, 2**32 - 1))
def test_every_image_is_in_one_part_and_each_class_keeps_its_share(fraction: float, seed: int) -> None:
    whole = numbered(30, 60, 90)
    train, valid = hold_out(whole, fraction, seed)
    assert sorted(places(train) + places(valid)) == places(whole)
    assert len(valid) == held_out_size(180, fraction)
    assert np.bincount(valid.labels) == pytest.approx(fraction * np.array([30, 60, 90]), abs=1.5)
    assert np.array_equal(train.labels, whole.labels[places(train)])


def test_the_seed_fixes_the_parts() -> None:
    whole = numbered(50, 50)
    assert places(hold_out(whole, 0.2, 1)[1]) == places(hold_out(whole, 0.2, 1)[1])
    assert places(hold_out(whole, 0.2, 1)[1]) != places(hold_out(whole, 0.2, 2)[1])


@pytest.mark.parametrize(("images", "fraction", "held_out"), [(1797, 0.2, 360), (50_000, 0.1, 5000), (10, 0.3, 3)])
def test_the_size_is_rounded_up_but_not_by_floating_point(images: int, fraction: float, held_out: int) -> None:
    assert held_out_size(images, fraction) == held_out


@pytest.mark.parametrize(("classes", "fraction"), [((1, 20), 0.5), ((5, 5, 5), 0.1)])
def test_a_class_too_small_to_share_is_told(classes: tuple[int, ...], fraction: float) -> None:
    with pytest.raises(InputError, match="cannot be held out of each class"):
        hold_out(numbered(*classes), fraction, 0)
