"""Curves in a CSV file: any tool's, our own, and what cannot be read, by its line."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.analysis.lr_range import Curve
from onecycle_cli.analysis.lr_range.from_arrays import MOST_STEPS
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.curve_file import read_curves
from onecycle_cli.run_dir.files import LR_RANGE_COLUMNS
from onecycle_cli.run_dir.writing import to_csv


@pytest.mark.parametrize(
    "text",
    [
        "lr,loss\n0.1,2\n0.2,1.5\n",
        "lr,loss\r\n0.1,2\r\n0.2,1.5",
        "\ufefflr,loss\n0.1,2\n\n0.2,1.5\n\n",
        "lr;loss\n0.1;2\n0.2;1.5\n",
        "lr\tloss\n0.1\t2\n0.2\t1.5\n",
        ' step , "loss" , lr \n0, 2, 1e-1\n1, 1.5, 2e-1\n'.replace(' "loss" ', "loss"),
        '"lr","note","loss"\n0.1,"a, b",2\n0.2,"two\nlines",1.5\n',
        "lr,loss,train_loss\n0.1,2,9\n0.2,1.5,9\n",
    ],
    ids=["plain", "windows", "bom and blanks", "semicolons", "tabs", "blanks", "quotes", "both losses"],
)
def test_what_any_tool_writes_is_read(text: str) -> None:
    found = read_curves(text, "x")
    assert found.curves == [Curve([0.1, 0.2], [2.0, 1.5])]
    assert found.loss_column == "loss"


def test_columns_can_be_named_and_train_loss_stands_in_for_loss() -> None:
    text = "rate,train_loss,valid\n0.1,2,3\n0.2,1.5,2\n"
    assert read_curves(text, "x", lr_column="rate").loss_column == "train_loss"
    named = read_curves(text, "x", lr_column="rate", loss_column="valid")
    assert (named.loss_column, named.curves[0].losses) == ("valid", [3.0, 2.0])


def test_several_seeds_are_several_curves_in_whatever_order_their_lines_are() -> None:
    rows = [(7, 0, 0.1, 0.9, 3.0, 3.0), (8, 0, 0.1, 0.9, 4.0, 4.0), (7, 1, 0.2, 0.9, 2.0, 2.5)]
    found = read_curves(to_csv(LR_RANGE_COLUMNS, rows), "x")
    assert found.curves == [Curve([0.1, 0.2], [3.0, 2.0]), Curve([0.1], [4.0])]
    assert found.loss_column == "train_loss"


def test_losses_that_are_not_finite_are_losses() -> None:
    losses = read_curves("lr,loss\n0.1,inf\n0.2,nan\n0.3,-Infinity\n", "x").curves[0].losses
    assert math.isnan(losses[1])
    assert (losses[0], losses[2]) == (math.inf, -math.inf)


@given(
    lrs=st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=30, unique=True).map(sorted),
    losses=st.lists(st.floats(-1e6, 1e6), min_size=30, max_size=30),
)
def test_what_was_written_with_all_digits_comes_back(lrs: list[float], losses: list[float]) -> None:
    text = "lr,loss\n" + "".join(f"{lr!r},{loss!r}\n" for lr, loss in zip(lrs, losses, strict=False))
    assert read_curves(text, "x").curves == [Curve(lrs, losses[: len(lrs)])]


@given(text=st.text(alphabet='lrosed,;\t\n\r"0123456789.-+nai\0é', max_size=60).map(lambda more: f"lr,loss\n{more}"))
def test_whatever_the_text_it_is_read_or_refused(text: str) -> None:
    try:
        found = read_curves(text, "x")
    except InputError:
        return
    assert all(len(curve.lrs) == len(curve.losses) > 0 for curve in found.curves)


WRONG = {
    "nothing": ("", "x has no rows"),
    "a header alone": ("lr,loss\n", "x has no rows"),
    "no lr": ("rate,loss\n1,2\n", r"no column lr\.\nIt has rate, loss: name one with --lr-column"),
    "no loss": ("lr,valid\n1,2\n", r"no column loss or train_loss\.\nIt has lr, valid: name one with --loss-column"),
    "no header": ("0.1,2\n0.2,3\n", "no column lr"),
    "text": ("lr,loss\n0.1,2\n0.2,oops\n", r"\n  line 3: loss is 'oops', not a number"),
    "a short line": ("lr,loss\n0.1,2\n0.2\n", "line 3: loss is empty"),
    "an empty cell": ("lr,loss\n,2\n", "line 2: lr is empty"),
    "an lr of 0": ("lr,loss\n0,2\n", "line 2: lr is 0, not a finite number above 0"),
    "an lr of nan": ("lr,loss\nnan,2\n", "line 2: lr is nan"),
    "lrs that fall": ("lr,loss\n0.2,1\n0.1,2\n", "line 3: lr 0.1 comes after 0.2"),
    "an lr twice": ("lr,loss\n0.2,1\n\n0.2,2\n", "line 4: lr 0.2 comes after 0.2"),
    "two things": ("lr,loss\nx,1\n0.1,y\n", "(?s)line 2: lr is 'x'.*line 3: loss is 'y'"),
    "a hundred things": ("lr,loss\n" + "x,1\n" * 100, "(?s)line 11: .*and 90 more"),
    "an open quote": ('lr,loss\n"0.1,2\n0.2,1\n' + "0" * 200_000, "not readable as CSV"),
    "other lrs": ("seed,lr,loss\n1,0.1,2\n1,0.2,2\n2,0.1,3\n2,0.3,3\n", "The range test of seed 2 in x has different"),
    "too many": (
        "lr,loss\n" + "".join(f"{1 + step},1\n" for step in range(MOST_STEPS + 1)),
        "10,001 steps; at most 10,000",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_read_is_named_by_its_line(name: str) -> None:
    text, says = WRONG[name]
    with pytest.raises(InputError) as caught:
        read_curves(text, "x")
    assert re.search(says, str(caught.value)), caught.value
    assert len(caught.value.what.splitlines()) <= 12


def test_the_column_that_was_named_is_missed_by_its_name() -> None:
    with pytest.raises(InputError, match="no column valid_loss"):
        read_curves("lr,loss\n1,2\n", "x", loss_column="valid_loss")
