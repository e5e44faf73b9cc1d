"""The YAML of recipes: numbers as people write them, no bombs, text as it was."""

from typing import Any

import pytest
import yaml

from onecycle_cli.recipe.dialect import UNREADABLE, Dumper, Loader


def loaded(text: str) -> Any:
    return yaml.load(text, Loader)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        *[("1e-4", 1e-4), ("5e-4", 5e-4), ("1.0e-4", 1e-4), ("1E-4", 1e-4), (".5e-3", 5e-4), ("-1e0", -1.0)],
        *[("0", 0), ("1e4", 1e4), ("1.0e4", 1e4), ("1e+4", 1e4), ("10000", 10_000)],
    ],
)
def test_numbers_are_read_as_a_person_writes_them(text: str, number: float) -> None:
    assert loaded(text) == number
    assert isinstance(loaded(text), type(number))


@pytest.mark.parametrize("text", ["'1e-4'", "e4", "1e", "1-e4", "v1e4"])
def test_other_text_stays_text(text: str) -> None:
    assert loaded(text) == text.strip("'")


BOMB = "a0: &a0 [x]\n" + "".join(f"a{n + 1}: &a{n + 1} [{f'*a{n}, ' * 9}]\n" for n in range(99))


@pytest.mark.parametrize(
    ("text", "name", "line"),
    [
        (BOMB, "a0", 2),
        ("a: &a {b: 1}\nc:\n  <<: *a\n", "a", 3),
        ("a: &a\n  b: *a\n", "a", 2),
        ("&a [*a]", "a", 1),
    ],
)
def test_aliases_make_neither_billions_of_values_nor_circles(text: str, name: str, line: int) -> None:
    with pytest.raises(yaml.MarkedYAMLError) as caught:
        loaded(text)
    assert caught.value.problem.startswith(f"*{name} repeats a list or a section")
    assert caught.value.problem_mark.line + 1 == line


def test_an_alias_may_stand_for_a_single_value() -> None:
    assert loaded("{a: &lr 1e-3, b: *lr, c: [*lr, *lr]}") == {"a": 1e-3, "b": 1e-3, "c": [1e-3, 1e-3]}


@pytest.mark.parametrize("text", ["[" * 5000, "a: " + "{a: " * 5000, "0x" + "f" * 5000, "9" * 5000, "2024-13-45"])
def test_what_is_too_deep_too_long_or_no_date_is_unreadable(text: str) -> None:
    with pytest.raises(UNREADABLE):
        loaded(text)


@pytest.mark.parametrize("text", ["\x85", "a\u2028b", "a\u2029 b", "two\nlines", "größe: 1e-4", "1e4", "1e-4", "true"])
def test_a_text_comes_back_as_it_was(text: str) -> None:
    assert loaded(yaml.dump(text, Dumper=Dumper, allow_unicode=True)) == text


def test_sections_are_written_as_blocks_and_lists_on_one_line() -> None:
    assert yaml.dump({"a": {"b": [1, 2], "c": "1e4"}}, Dumper=Dumper) == "a:\n  b: [1, 2]\n  c: '1e4'\n"
