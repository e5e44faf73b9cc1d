"""The comparison with the published runs of the blog post."""

import math
import re
from statistics import stdev

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from onecycle_cli.analysis.reproduction import (
    CLAIMS,
    PUBLISHED,
    Measured,
    against_published,
    orders,
    scaled_epochs,
)
from onecycle_cli.recipe import load, shipped_path

E1 = PUBLISHED["E1"]


def runs(*accuracies: float, not_finished: int = 0) -> Measured:
    return Measured(accuracies, [1 - accuracy for accuracy in accuracies], not_finished, 10_000)


def test_every_published_run_has_a_shipped_recipe_that_names_its_accuracy_and_loss() -> None:
    for published in PUBLISHED.values():
        load(shipped_path(published.recipe))
        text = shipped_path(published.recipe).read_text()
        said = re.search(r"Published: ([\d.]+) % at the end \(validation loss ([\d.]+)", text)
        assert float(said[1]) == pytest.approx(100 * published.accuracy)
        assert float(said[2]) == pytest.approx(published.loss, abs=0.00051)


def test_the_claims_are_about_published_runs_and_the_first_of_each_pair_is_the_better_one() -> None:
    for better, worse, _ in CLAIMS:
        assert PUBLISHED[better].accuracy > PUBLISHED[worse].accuracy


def test_three_runs_around_the_published_accuracy_reproduce_it() -> None:
    against = against_published(E1, runs(0.934, 0.936, 0.935))
    assert against.verdict == "reproduced"
    assert against.difference == pytest.approx(0.935 - 0.9353)
    assert against.standard_error == pytest.approx(0.001 * math.sqrt(4 / 3))  # by hand: s.d. 0.001, 1 + 1/3


def test_the_limit_of_several_runs_is_the_prediction_interval_of_student_t() -> None:
    limit = stats.t.ppf(0.975, 2) * 0.001 * math.sqrt(4 / 3)  # 0.00497
    inside, outside = E1.accuracy - 0.99 * limit, E1.accuracy - 1.01 * limit
    assert against_published(E1, runs(inside - 0.001, inside, inside + 0.001)).verdict == "reproduced"
    assert against_published(E1, runs(outside - 0.001, outside, outside + 0.001)).verdict == "lower"
    above = 2 * E1.accuracy - outside
    assert against_published(E1, runs(above - 0.001, above, above + 0.001)).verdict == "higher"


def test_runs_that_vary_by_more_than_any_published_difference_tell_nothing() -> None:
    assert against_published(E1, runs(0.92, 0.935, 0.945)).verdict == "too noisy"


def test_one_run_is_compared_by_the_error_of_two_accuracies() -> None:
    error = math.sqrt(0.93 * 0.07 / 10_000 + E1.accuracy * (1 - E1.accuracy) / 10_000)
    against = against_published(E1, runs(0.93))
    assert against.standard_error == pytest.approx(error)
    assert against.verdict == "reproduced"
    assert against_published(E1, runs(0.927)).verdict == "lower"


def test_without_a_finished_run_there_is_no_result() -> None:
    against = against_published(E1, runs(not_finished=3))
    assert (against.difference, against.standard_error, against.verdict) == (None, None, "no result")


def test_an_order_is_told_beyond_noise_alone() -> None:
    measured = {"E1": runs(0.93, 0.931, 0.932), "E2": runs(0.92, 0.921, 0.922), "E3": runs(0.94, 0.941, 0.942)}
    measured |= {"E4": runs(0.929, 0.931, 0.933)}
    found = {(one.better, one.worse): one.order for one in orders(measured)}
    assert found == {("E1", "E2"): "same", ("E1", "E3"): "opposite", ("E1", "E4"): "within noise"}


@given(st.lists(st.floats(0.5, 0.99), min_size=2, max_size=5), st.lists(st.floats(0.5, 0.99), min_size=2, max_size=5))
def test_an_order_is_that_of_welchs_t_test(one: list[float], other: list[float]) -> None:
    if stdev(one) < 1e-4 or stdev(other) < 1e-4:
        return
    (found,) = orders({"E1": runs(*one), "E2": runs(*other)})
    p = stats.ttest_ind(one, other, equal_var=False).pvalue
    if abs(p - 0.05) < 1e-9:
        return
    assert (found.order == "within noise") == (p > 0.05)
    if found.order != "within noise":
        assert (found.order == "same") == (sum(one) / len(one) > sum(other) / len(other))


def test_one_run_is_taken_to_vary_as_those_of_the_other_experiment_do() -> None:
    (found,) = orders({"E1": runs(0.60, 0.66, 0.54), "E2": runs(0.585)})
    assert found.standard_error == pytest.approx(0.06 * math.sqrt(1 / 3 + 1))  # by hand: s.d. 0.06
    assert found.order == "within noise"
    (found,) = orders({"E1": runs(0.930), "E2": runs(0.919, 0.920, 0.921)})
    assert found.standard_error == pytest.approx(0.001 * math.sqrt(1 + 1 / 3))
    assert found.order == "same"  # 0.010 is beyond 4.30 times 0.00115
    (found,) = orders({"E1": runs(0.924), "E2": runs(0.919, 0.920, 0.921)})
    assert found.order == "within noise"


def test_one_run_of_each_tells_no_order() -> None:
    (found,) = orders({"E1": runs(0.93), "E2": runs(0.5)})
    assert (found.difference, found.standard_error, found.order) == (pytest.approx(0.43), None, "one run each")


def test_equal_runs_are_taken_to_vary_by_an_image() -> None:
    (found,) = orders({"E1": runs(0.93, 0.93), "E2": runs(0.93, 0.93)})
    assert found.order == "within noise"
    assert found.standard_error == pytest.approx(1e-4)
    (found,) = orders({"E1": runs(0.94, 0.94), "E2": runs(0.93, 0.93)})
    assert found.order == "same"


def test_runs_that_did_not_come_to_their_end_leave_no_verdict() -> None:
    assert against_published(E1, runs(0.934, 0.936, 0.935, not_finished=2)).verdict == "not all finished"
    (found,) = orders({"E1": runs(0.93, 0.931, 0.932), "E2": runs(0.92, 0.921, not_finished=1)})
    assert found.order == "not all finished"


def test_an_order_needs_a_finished_run_of_both() -> None:
    (found,) = orders({"E1": runs(0.93), "E2": runs(not_finished=1)})
    assert found.order == "no result"


def test_epochs_are_scaled_to_the_next_whole_number_and_never_to_none() -> None:
    scaled = [scaled_epochs(epochs, 0.1) for epochs in (95, 50, 70)]
    assert scaled == [10, 5, 7]
    assert scaled_epochs(50, 0.001) == 1
    assert scaled_epochs(95, 1) == 95
