"""Values as a person writes them."""

import pytest

from onecycle_cli.recipe import as_written


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1e-3, "1e-3"),
        (5e-4, "5e-4"),
        (0.01, "0.01"),
        (3.16e-4, "3.16e-4"),
        (10**-3.5, "3.1622776601683794e-4"),
        (0.1 + 0.2, "0.30000000000000004"),
        (0.0, "0"),
        (1.0, "1"),
        (512, "512"),
        (None, "null"),
        (True, "true"),
        ("blog", "blog"),
        ((41.0, 41, 0.5), "[41, 41, 0.5]"),
        ({"body": 1e-3, "head": 1.0}, "{body: 1e-3, head: 1}"),
    ],
)
def test_a_value_has_all_its_digits_and_no_more(value: object, text: str) -> None:
    assert as_written(value) == text
