"""Reading a weight decay sweep."""

import pytest

from onecycle_cli.sweeps import SweepRow, read_weight_decay


def row(weight_decay: float, stop_lr: float | None, max_lr: float | None = 0.5, onset_lr: float = 2.0) -> SweepRow:
    status = "finished" if max_lr else "diverged"
    return SweepRow(weight_decay, argmin_lr=1.0, onset_lr=onset_lr, stop_lr=stop_lr, max_lr=max_lr, status=status)


def test_the_seeds_overlay_reads_1e_4() -> None:
    reading = read_weight_decay([row(1e-2, 8.2), row(1e-3, 9.0), row(1e-4, 20.7)])
    assert reading.chosen.weight_decay == 1e-4
    assert "20.7" in reading.reason
    assert "8.2 at 0.01" in reading.reason


def test_the_largest_of_those_within_a_factor_of_two_is_chosen() -> None:
    reading = read_weight_decay([row(1e-2, 8.2), row(1e-3, 10.4), row(1e-4, 20.7), row(1e-5, 19.0)])
    assert reading.chosen.weight_decay == 1e-3


def test_the_order_of_the_rows_does_not_matter() -> None:
    rows = [row(1e-2, 11.0), row(1e-3, 10.4), row(1e-4, 20.7)]
    assert read_weight_decay(rows).chosen == read_weight_decay(rows[::-1]).chosen


def test_where_a_test_was_not_stopped_by_its_loss_the_onsets_are_compared() -> None:
    # Measured with ResNet-8 on CIFAR-10 up to lr 10.
    rows = [row(1e-2, None, onset_lr=0.977), row(1e-3, 9.0, onset_lr=4.43), row(1e-4, None, onset_lr=7.05)]
    reading = read_weight_decay(rows)
    assert reading.chosen.weight_decay == 1e-3
    assert "Onset lrs: 0.977 at 0.01, 4.43 at 0.001, 7.05 at 0.0001" in reading.reason


@pytest.mark.parametrize("unusable", [row(1e-1, 50.0, max_lr=None), row(1e-1, None, max_lr=None)])
def test_a_value_without_a_suggestion_is_neither_chosen_nor_the_measure(unusable: SweepRow) -> None:
    assert read_weight_decay([unusable, row(1e-3, 9.0)]).chosen.weight_decay == 1e-3


def test_with_no_suggestion_at_all_nothing_is_chosen() -> None:
    reading = read_weight_decay([row(1e-1, None, max_lr=None)])
    assert reading.chosen is None
    assert "No weight decay" in reading.reason
