"""The classes of a table, from its labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.data.class_names import numbered_classes


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["b", "a", "b", "C"], ("C", "a", "b")),
        (["10", "9", "1"], ("1", "9", "10")),
        (["10.0", "9.0", "2.5"], ("2.5", "9", "10")),
        (["01", "1", "-3"], ("-3", "1")),
        (["10", "9", "x"], ("10", "9", "x")),
        (["nan", "1"], ("1", "nan")),
        (["9007199254740993", "9007199254740992"], ("9007199254740992", "9007199254740993")),
    ],
)
def test_numbers_are_sorted_as_numbers_and_names_as_text(labels: list[str], classes: tuple[str, ...]) -> None:
    assert numbered_classes(labels)[0] == classes


@given(st.lists(st.text(max_size=3) | st.integers().map(str), min_size=1))
def test_each_label_has_the_number_of_its_class(labels: list[str]) -> None:
    classes, numbers = numbered_classes(labels)
    assert len(numbers) == len(labels)
    assert {*numbers} == {*range(len(classes))}
    assert len({*classes}) == len(classes)
    for one, number in zip(labels, numbers, strict=True):
        assert all((one == other) <= (number == n) for other, n in zip(labels, numbers, strict=True))
