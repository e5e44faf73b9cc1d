"""Which wrong predictions an evaluation keeps, by hand."""

from onecycle_cli.analysis.wrong_predictions import CONFUSIONS, EACH, MOST, kept, worst_confusions


def test_the_worst_confusions_come_first_and_right_answers_are_none() -> None:
    counts = [[50, 3, 1], [3, 5, 0], [0, 0, 9]]
    # Both pairs with 3 images: class 1 has 8 images and class 0 has 54, so its share is larger.
    assert worst_confusions(counts) == [(1, 0, 3), (0, 1, 3), (0, 2, 1)]
    assert worst_confusions(counts, most=1) == [(1, 0, 3)]
    assert worst_confusions([[4, 0], [0, 4]]) == []


def test_wrong_predictions_are_kept_the_most_confident_first() -> None:
    labels, answers = [0, 0, 1, 1, 2], [0, 1, 0, 1, 0]
    assert kept(labels, answers, [0.9, 0.6, 0.8, 0.9, 0.7]) == [2, 4, 1]
    assert kept([0, 1], [0, 1], [0.9, 0.9]) == []


def test_of_many_a_frequent_confusion_keeps_some_however_unsure() -> None:
    # 200 sure confusions of 0 with 1 to 9 in turn, and ten unsure ones of 5 with 6.
    labels = [0] * 200 + [5] * 10
    answers = [1 + i % 9 for i in range(200)] + [6] * 10
    frequent = [0.99] * 200 + [0.2] * 10
    chosen = kept(labels, answers, frequent)
    assert len(chosen) == MOST
    assert sum(labels[i] == 5 for i in chosen) == 0  # nine pairs of 0 have 22 images each, so 5 is not frequent
    often = kept(labels + [5] * 20, answers + [6] * 20, frequent + [0.1] * 20)
    assert sum(i >= 200 for i in often) == EACH
    assert CONFUSIONS * EACH <= MOST
