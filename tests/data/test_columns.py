"""Which column of a table is which."""

import pytest

from onecycle_cli.data.columns import LABEL_COLUMNS, SPLIT_COLUMNS, chosen_column
from onecycle_cli.errors import InputError


@pytest.mark.parametrize(
    ("header", "found"),
    [
        (["path", "label"], "label"),
        (["Class", "path"], "Class"),
        (["target", "label"], "label"),
        (["fine_label", "coarse_label"], "fine_label"),
    ],
)
def test_a_column_is_found_by_its_usual_names_in_their_order(header: list[str], found: str) -> None:
    assert chosen_column(None, "label_column", LABEL_COLUMNS, header, "x.csv") == found


def test_a_column_that_the_recipe_names_is_taken_as_it_is_spelt() -> None:
    assert chosen_column("kind", "label_column", LABEL_COLUMNS, ["label", "kind"], "x.csv") == "kind"
    with pytest.raises(InputError, match=r"x\.csv: there is no column 'knd' \(data\.label_column\)") as caught:
        chosen_column("knd", "label_column", LABEL_COLUMNS, ["label", "kind"], "x.csv")
    assert caught.value.fix == "Did you mean 'kind'? The columns are label, kind."


def test_a_missing_column_is_an_error_only_where_it_is_needed() -> None:
    assert chosen_column(None, "split_column", SPLIT_COLUMNS, ["path", "label"], "x.csv", needed=False) is None
    with pytest.raises(InputError, match="no column is named split, subset or set") as caught:
        chosen_column(None, "split_column", SPLIT_COLUMNS, ["path", "label"], "x.csv")
    assert caught.value.fix == "Set data.split_column to one of the columns path, label."
