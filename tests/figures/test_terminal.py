"""Curves as lines of text."""

import math
import os
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.figures.terminal import Screen, range_test_lines, training_lines

SCREEN = Screen(60, 13)
ASCII = Screen(60, 13, unicode=False)
BASIN = [(10 ** (-3 + 4 * i / 40), 2.0 - 1.5 * math.exp(-(((i - 22) / 9) ** 2))) for i in range(41)]
"""A range test from lr 0.001 to 10: the loss falls from 2 to 0.5 at lr 0.158."""


def test_a_falling_loss_is_a_line_from_the_upper_left_to_the_lower_right() -> None:
    assert training_lines(Screen(40, 8), train=[(0, 2.0), (100, 0.0)], valid=[]) == [
        "loss   ⠒⠒ train_loss",
        "   2 ┤⠉⠒⠒⠤⢄⣀⡀",
        "     │      ⠈⠉⠒⠒⠤⢄⣀⡀",
        "   1 ┤             ⠈⠉⠒⠒⠤⠤⣀⡀",
        "     │                    ⠈⠉⠑⠒⠤⠤⣀⡀",
        "   0 ┤                           ⠈⠉⠑⠒⠤⠤⣀",
        "     └┬────────────────┬───────────────┬",
        "step  0                50            100",
    ]


def test_the_validation_loss_has_a_letter_at_each_epoch_without_any_colour() -> None:
    train = [(step, 1 - step / 100) for step in range(101)]
    lines = training_lines(SCREEN, train=train, valid=[(49, 0.8), (100, 0.4)])
    assert lines[0] == "loss   ⠒⠒ train_loss   o valid_loss"
    found = [(row, line.index("o")) for row, line in enumerate(lines[1:11]) if "o" in line]
    assert [row for row, _ in found] == [2, 5]
    left, right = 6, 58
    assert [column for _, column in found] == pytest.approx([(left + right) / 2, right], abs=1)
    assert "\x1b" not in "".join(lines)


def test_lr_has_a_log_axis_with_the_powers_of_ten_at_even_distances() -> None:
    numbers = range_test_lines(SCREEN, tests=[BASIN], smooth=BASIN)[-1]
    assert numbers.split() == ["lr", "0.001", "0.01", "0.1", "1", "10"]
    axis = range_test_lines(SCREEN, tests=[BASIN], smooth=BASIN)[-2]
    places = [i for i, mark in enumerate(axis) if mark == "┬"]
    assert all(abs(b - a - 13.25) <= 1 for a, b in pairwise(places))


def test_less_than_two_decades_have_more_numbers() -> None:
    narrow = [(lr, 1 / lr) for lr in (0.1, 0.2, 0.4, 0.8)]
    assert range_test_lines(SCREEN, tests=[narrow], smooth=narrow)[-1].split() == ["lr", "0.1", "0.2", "0.5"]


def test_max_lr_and_its_band_are_marked_on_the_axis_and_explained() -> None:
    lines = range_test_lines(SCREEN, tests=[BASIN], smooth=BASIN, max_lr=0.1, best=(0.03, 0.3))
    assert lines[0] == "loss   ⠒⠒ smoothed   ┿ max_lr 0.1   ━ best max_lr, 90 %", "the first entry has no room"
    axis = lines[-2]
    band = re.search("━+┿━+", axis)
    assert band
    at, wide = axis.index("┿"), 53  # the characters of the axis after its corner
    left = axis.index("└") + 1
    assert at - left == pytest.approx(0.5 * (wide - 1), abs=1)
    half = (math.log10(0.3) + 1) / 4 * (wide - 1)
    assert (at - band.start(), band.end() - 1 - at) == pytest.approx((half, half), abs=1.1)
    # The dotted line stands above the mark.
    assert all(line[at] != " " for line in lines[1:-2])


def test_without_an_error_bar_max_lr_alone_is_marked() -> None:
    lines = range_test_lines(SCREEN, tests=[BASIN], smooth=BASIN, max_lr=0.1)
    assert "━" not in "".join(lines)
    assert lines[-2].count("┿") == 1


def test_a_band_beyond_the_tested_lrs_ends_with_the_axis() -> None:
    axis = range_test_lines(SCREEN, tests=[BASIN], smooth=BASIN, max_lr=10, best=(5, 20))[-2]
    assert axis.endswith("┿")
    assert len(axis) == 60


def test_without_unicode_every_character_is_ascii_and_the_line_alone_is_drawn() -> None:
    lines = range_test_lines(ASCII, tests=[BASIN], smooth=BASIN, max_lr=0.1, best=(0.03, 0.3))
    assert "\n".join(lines).isascii()
    assert lines[0].startswith("loss   .. smoothed   | max_lr 0.1")
    assert re.search(r"-=+\|=+-", lines[-2])
    wide = range_test_lines(Screen(100, 13, unicode=False), tests=[BASIN], smooth=BASIN[:20])
    assert wide[0] == "loss   .. smoothed"
    assert not any(line[60:].strip() for line in wide[1:-2]), "where the smooth curve has no point"
    lines = training_lines(ASCII, train=[(0, 2.0), (100, 0.0)], valid=[(100, 1.0)])
    assert "\n".join(lines).isascii()


def test_colours_change_no_character(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # plotille looks whether standard output is a terminal
    monkeypatch.delenv("NO_COLOR", raising=False)
    words: dict[str, Any] = {"tests": [BASIN], "smooth": BASIN, "max_lr": 0.1, "best": (0.03, 0.3)}
    coloured = range_test_lines(Screen(60, 13, color=True), **words)
    assert "\x1b[31m" in "".join(coloured)
    bare = [re.sub(r"\x1b\[\d*m", "", line).rstrip() for line in coloured]
    assert bare == range_test_lines(SCREEN, **words)


def test_an_explosion_does_not_flatten_the_curve() -> None:
    exploded = [*BASIN, (12.0, 1e30), (14.0, math.inf), (16.0, math.nan)]
    lines = range_test_lines(SCREEN, tests=[exploded], smooth=exploded)
    assert any(line.startswith("   1") for line in lines)
    assert training_lines(SCREEN, train=[(0, 2.0), (1, 1.0), (2, 1e38), (3, math.nan)], valid=[])


def test_a_loss_that_rises_at_once_is_seen_to_rise_by_half() -> None:
    lines = training_lines(SCREEN, train=[(0, 2.0), (1, 4.0), (2, 50.0)], valid=[])
    assert [line[1:4] for line in lines if "┤" in line] == ["3.0", "2.8", "2.6", "2.4", "2.2", "2.0"]


def test_of_many_steps_the_means_are_drawn() -> None:
    steps = [(step, 2 - step / 5_000 + (-1) ** step) for step in range(10_000)]
    lines = training_lines(SCREEN, train=steps, valid=[])
    assert lines[0] == "loss   ⠒⠒ train_loss, averaged"
    assert [line[1:4] for line in lines[1:-2] if "┤" in line] == ["1.5", "1.0", "0.5", "0.0"], (
        "single steps are from -1 to 3"
    )


@pytest.mark.parametrize("train", [[], [(0, 1.0)], [(0, math.nan), (1, math.inf), (2, 1.0)]])
def test_nothing_is_drawn_of_less_than_two_points(train: list[tuple[float, float]]) -> None:
    assert training_lines(SCREEN, train=train, valid=[]) == []
    assert range_test_lines(SCREEN, tests=[train], smooth=train) == []


@pytest.mark.parametrize("small", [Screen(39, 20), Screen(80, 7)])
def test_nothing_is_drawn_where_there_is_no_room(small: Screen) -> None:
    assert training_lines(small, train=[(0, 2.0), (1, 1.0)], valid=[]) == []
    assert range_test_lines(small, tests=[BASIN], smooth=BASIN) == []


LOSSES = st.one_of(st.floats(), st.floats(0, 5), st.floats(-1e-300, 1e-300), st.sampled_from([0.0, 1.0, 1e38]))


@given(
    losses=st.lists(LOSSES, max_size=40),
    valid=st.lists(LOSSES, max_size=5),
    columns=st.integers(40, 130),
    rows=st.integers(8, 30),
    unicode=st.booleans(),
)
def test_any_losses_fit_into_any_screen(
    losses: list[float], valid: list[float], columns: int, rows: int, unicode: bool
) -> None:
    screen = Screen(columns, rows, unicode=unicode)
    lrs = [1e-4 * 1.3**step for step in range(len(losses))]
    test = list(zip(lrs, losses, strict=True))
    trained = training_lines(screen, train=list(enumerate(losses)), valid=list(enumerate(valid)))
    tested = range_test_lines(screen, tests=[test], smooth=test, max_lr=0.1, best=(0.05, 0.2))
    for lines in filter(None, (trained, tested)):
        assert len(lines) == rows
        assert all(len(line) <= columns for line in lines)


def test_the_environment_is_left_as_it_was() -> None:
    before = dict(os.environ)
    range_test_lines(Screen(60, 13, color=True), tests=[BASIN], smooth=BASIN)
    assert dict(os.environ) == before
