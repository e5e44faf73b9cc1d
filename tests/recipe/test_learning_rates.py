"""The lrs of layer groups: worked out by hand, and what scaling leaves as it is."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from onecycle_cli.recipe import BodyAndHead, lr_ratios, relative, scaled

GROUPS = ("stem", "layer1", "layer2", "layer3", "head")
LRS = st.floats(1e-9, 1000)


def test_one_lr_is_that_of_every_group() -> None:
    for max_lr in (None, 0.3, (0.1, 0.1), BodyAndHead(body=2, head=2)):
        assert lr_ratios(max_lr, GROUPS) == dict.fromkeys(GROUPS, 1.0)
        assert relative(max_lr) is None


def test_a_list_is_spread_over_the_groups_by_equal_factors() -> None:
    # From 1e-4 to 1e-2 in four steps: each is the root of ten.
    ratios = lr_ratios((1e-4, 1e-2), GROUPS)
    assert list(ratios) == list(GROUPS)
    assert list(ratios.values()) == pytest.approx([0.01, 10**-1.5, 0.1, 10**-0.5, 1], rel=1e-12)
    assert list(lr_ratios((0.4, 0.1), GROUPS).values()) == pytest.approx([1, 2**-0.5, 0.5, 2**-1.5, 0.25])


def test_a_section_has_one_lr_for_the_head_and_one_for_the_rest() -> None:
    ratios = lr_ratios(BodyAndHead(body=0.1, head=0.5), GROUPS)
    assert ratios == {"stem": 0.2, "layer1": 0.2, "layer2": 0.2, "layer3": 0.2, "head": 1.0}
    assert lr_ratios(BodyAndHead(body=0.5, head=0.1), GROUPS)["head"] == 0.2


def test_what_is_suggested_becomes_the_largest() -> None:
    assert scaled(None, 0.3) == scaled(5.0, 0.3) == 0.3
    assert scaled((1e-4, 1e-2), 0.3) == (0.003, 0.3)
    assert scaled((1e-2, 1e-4), 0.3) == (0.3, 0.003)
    assert scaled(BodyAndHead(body=1, head=4), 0.3) == BodyAndHead(body=0.075, head=0.3)


def test_the_least_lrs_that_there_are_keep_their_ratio_too() -> None:
    assert scaled(BodyAndHead(body=5e-324, head=5e-323), 0.5) == BodyAndHead(body=0.05, head=0.5)


def test_the_ratios_are_written_as_a_recipe_would() -> None:
    assert relative((1e-4, 3e-4)) == [0.333333, 1.0]
    assert relative(BodyAndHead(body=1, head=4)) == {"body": 0.25, "head": 1.0}


@given(first=LRS, head=LRS, largest=st.floats(1e-6, 1000))
def test_scaling_keeps_the_ratios(first: float, head: float, largest: float) -> None:
    one, other = (relative(max_lr) or [1.0, 1.0] for max_lr in ((first, head), scaled((first, head), largest)))
    assert one == pytest.approx(other, rel=1.1e-5)  # a ratio that lies between two of six digits may go to either


@example(digits=512, power=0, largest=51.5)
@given(digits=st.integers(1, 999), power=st.integers(-6, 2), largest=st.floats(1e-6, 1000))
def test_of_ratios_that_a_person_writes_scaling_keeps_every_bit(digits: int, power: int, largest: float) -> None:
    ends = (digits * 10.0**power, 10.0)
    assert relative(scaled(ends, largest)) == relative(ends)
