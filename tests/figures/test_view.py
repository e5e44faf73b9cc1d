"""The part of a curve in view."""

from onecycle_cli.figures.view import loss_limits


def test_an_explosion_is_cut_as_far_above_the_first_loss_as_that_is_above_the_least() -> None:
    assert loss_limits([2.0, 1.0, 50.0], 0.5) == (0.5, 3.5)


def test_a_curve_without_explosion_is_shown_to_its_highest_loss() -> None:
    assert loss_limits([2.0, 1.0, 2.5], 0.5) == (0.5, 2.5)


def test_a_curve_that_begins_at_its_least_loss_has_some_height() -> None:
    assert loss_limits([1.0, 7.0], 1.0) == (1.0, 1.1)
