"""Means over seeds, their order, and what is noise."""

import pytest
from scipy.stats import ttest_ind

from onecycle_cli.analysis.ranking import CellResult, ranked, verdict


def results(value: float, *losses: float | None) -> list[CellResult]:
    return [CellResult({"optimizer.weight_decay": value}, loss, None if loss is None else 1 - loss) for loss in losses]


def test_seeds_of_one_value_become_one_row_with_mean_and_deviation() -> None:
    (row,) = ranked(results(1e-3, 0.1, 0.2, 0.6))
    assert (row.n, row.not_finished) == (3, 0)
    assert row.valid_loss == pytest.approx(0.3)
    # Deviations -0.2, -0.1 and 0.3; their squares sum up to 0.14, over n - 1 = 2.
    assert row.valid_loss_sd == pytest.approx(0.07**0.5)
    assert row.valid_accuracy == pytest.approx(0.7)


def test_the_least_mean_loss_comes_first_and_what_did_not_finish_last() -> None:
    rows = ranked([*results(1, 0.5, 0.5), *results(2, 0.1, None), *results(3, 0.4, 0.4), *results(4, None, None)])
    assert [row.values["optimizer.weight_decay"] for row in rows] == [3, 1, 2, 4]
    assert [(row.n, row.not_finished) for row in rows] == [(2, 0), (2, 0), (1, 1), (0, 2)]
    assert rows[-1].valid_loss is None


def test_one_run_has_no_deviation() -> None:
    (row,) = ranked(results(1, 0.5))
    assert (row.n, row.valid_loss_sd) == (1, None)


CLEAR = [*results(1, 0.50, 0.51, 0.52), *results(2, 0.60, 0.61, 0.62)]
NOISY = [*results(1, 0.40, 0.50, 0.60), *results(2, 0.45, 0.55, 0.65), *results(3, 0.5, 0.6, 0.7)]


def test_a_difference_of_many_standard_errors_is_told_as_one() -> None:
    told = verdict(ranked(CLEAR), 1000)
    assert told.startswith("The first value is better than all others by more than noise")
    # The standard error of each mean is 0.01 / sqrt(3), of the difference 0.01 x sqrt(2 / 3).
    assert "validation loss is 0.1 higher, with a standard error of 0.0082" in told


def test_a_difference_within_noise_is_told_as_noise() -> None:
    assert verdict(ranked(NOISY), 1000).startswith("The differences are within noise")
    assert verdict(ranked([*NOISY, *results(4, 5.0, 5.1, 5.2)]), 1000).startswith("The first 3 values are within noise")


def test_the_border_is_that_of_welchs_test() -> None:
    one = [0.50, 0.52, 0.54]
    for gap in (0.02, 0.04, 0.05, 0.08):
        other = [loss + gap for loss in one]
        noise = ttest_ind(one, other, equal_var=False).pvalue >= 0.05
        told = verdict(ranked([*results(1, *one), *results(2, *other)]), 1000)
        assert told.startswith("The differences are within noise") == noise


def test_one_run_each_says_how_little_it_says() -> None:
    # sqrt(0.5 x 0.5 / 10,000) is half a point.
    told = verdict(ranked([*results(1, 0.5), *results(2, 0.6)]), 10_000)
    assert "the standard error of an accuracy on 10,000 images alone is 0.50 points" in told


@pytest.mark.parametrize(
    ("rows", "says"), [([*results(1, None)], "No value finished"), ([*results(1, 0.5)], "Only one value finished")]
)
def test_where_nothing_can_be_compared_it_says_so(rows: list[CellResult], says: str) -> None:
    assert says in verdict(ranked(rows), 100)


def test_equal_losses_without_any_spread_are_no_difference() -> None:
    assert "within noise" in verdict(ranked([*results(1, 0.5, 0.5), *results(2, 0.5, 0.5)]), 100)
