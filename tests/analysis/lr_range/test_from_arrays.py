"""Range tests of other programs: what is taken, what is refused, and that it is read as find-lr reads its own."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.analysis.lr_range import Curve, CyclePlan
from onecycle_cli.analysis.lr_range import suggest as suggest_from_curves
from onecycle_cli.analysis.lr_range.from_arrays import MOST_STEPS, plan_of, suggest
from onecycle_cli.analysis.lr_range.suggestion import SHARES
from onecycle_cli.errors import InputError

ROOT = Path(__file__).parents[3]
RECORDED = json.loads((ROOT / "tests" / "golden" / "curves.json").read_text())
LRS = np.geomspace(1e-4, 10, 61)
LOSSES = np.where(LRS < 0.01, 2.3, np.where(LRS < 1, 1.3, 4.0))


@pytest.mark.parametrize("optimizer", SHARES)
@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_curve_gives_the_suggestion_of_find_lr(name: str, optimizer: str) -> None:
    lrs, losses = RECORDED[name]["lr"], RECORDED[name]["train_loss"]
    found = suggest(lrs, losses, optimizer=optimizer)
    assert found == suggest_from_curves([Curve(lrs, losses)], CyclePlan(optimizer, 10))


@pytest.mark.parametrize(
    "array",
    [
        list,
        tuple,
        np.asarray,
        pd.Series,
        lambda values: torch.tensor(values, dtype=torch.float64),
        lambda values: [torch.tensor(value, dtype=torch.float64) for value in values],
        lambda values: [np.float64(value) for value in values],
        lambda values: (value for value in values),
        lambda values: pd.Series(values, index=range(100, 100 + len(values))),
    ],
    ids=["list", "tuple", "numpy", "pandas", "torch", "tensors", "scalars", "generator", "another index"],
)
def test_any_array_will_do(array: Any) -> None:
    expected = suggest(LRS.tolist(), LOSSES.tolist())
    assert 0.04 < expected.max_lr < 0.2
    assert suggest(array(LRS), array(LOSSES)) == expected
    rows = [array(LOSSES), array(LOSSES[:50])]
    assert suggest(array(LRS), rows).max_lr == pytest.approx(expected.max_lr, rel=0.1)


def test_several_curves_may_end_early_and_are_rows_of_an_array_too() -> None:
    early = LOSSES.tolist()[:45]
    found = suggest(LRS, [LOSSES, early, LOSSES])
    curves = [Curve(LRS.tolist(), LOSSES.tolist()), Curve(LRS.tolist()[:45], early)]
    assert found == suggest_from_curves([curves[0], curves[1], curves[0]], CyclePlan("sgd", 10))
    assert found.spread == pytest.approx(1, abs=0.2)
    assert suggest(LRS, np.stack([LOSSES, LOSSES])) == suggest(LRS, [LOSSES, LOSSES])
    assert suggest(LRS, [LOSSES]) == suggest(LRS, LOSSES)


@given(div_factor=st.floats(1, 1e4))
def test_the_divisor_moves_the_initial_lr_alone(div_factor: float) -> None:
    found = suggest(LRS, LOSSES, div_factor=div_factor)
    assert found.initial_lr == pytest.approx(found.max_lr / div_factor, rel=0.006)
    assert found.max_lr == suggest(LRS, LOSSES).max_lr


def test_a_loss_that_is_not_finite_ends_the_curve() -> None:
    broken = [*LOSSES[:45], math.nan, *[math.inf] * 15]
    assert suggest(LRS, broken) == suggest(LRS[:46], broken[:46])
    assert suggest(LRS[:3], LOSSES[:3]).reason.startswith("The test ended after 3 steps")


WRONG: dict[str, tuple[Any, Any, dict, str]] = {
    "no lrs": ([], [], {}, r"lrs is empty\.\nGive the lr of each step"),
    "other lengths": (LRS, LOSSES[:-1], {}, r"61 lrs and 60 losses"),
    "lrs that fall": (LRS[::-1], LOSSES, {}, r"lrs\[1\] is 8\.25\d+, after 10\."),
    "an lr twice": ([0.1, 0.1, 0.2], [1, 2, 3], {}, r"lrs\[1\] is 0\.1, after 0\.1"),
    "an lr of 0": ([0, 0.1], [1, 2], {}, r"lrs\[0\] is 0\.\nLearning rates are finite and above 0"),
    "a negative lr": ([-1, 0.1], [1, 2], {}, r"lrs\[0\] is -1"),
    "an lr that is none": ([0.1, math.nan], [1, 2], {}, r"lrs\[1\] is nan"),
    "text": ([0.1, "0.2"], [1, 2], {}, r"lrs\[1\] is '0\.2', not a number"),
    "a loss of text": ([0.1, 0.2], [1, "x"], {}, r"losses\[1\] is 'x', not a number"),
    "nothing": ([0.1, 0.2], [1, None], {}, r"losses\[1\] is None, not a number"),
    "a truth": ([0.1, 0.2], [1, True], {}, r"losses\[1\] is True, not a number"),
    "a number": ([0.1, 0.2], 1.0, {}, r"losses is 1\.0, not a sequence"),
    "a text": ("0.1", [1], {}, r"lrs is '0\.1', not a sequence"),
    "columns for rows": (LRS, np.stack([LOSSES, LOSSES]).T, {}, r"61 rows of at most 2 losses.*\n.*losses\.T"),
    "a curve too long": ([0.1, 0.2], [[1, 2], [1, 2, 3]], {}, r"losses\[1\] has 3 losses, but there are 2 lrs"),
    "an empty curve": ([0.1, 0.2], [[1, 2], []], {}, r"losses\[1\] has 0 losses"),
    "a number among curves": ([0.1, 0.2], [[1, 2], 3], {}, r"losses\[1\] is 3, but others are sequences"),
    "text in a curve": ([0.1, 0.2], [[1, "x"]], {}, r"losses\[0\]\[1\] is 'x'"),
    "an optimizer without a rule": (LRS, LOSSES, {"optimizer": "lion"}, r"optimizer is 'lion'.*\n.*: sgd, adamw\."),
    "a divisor below 1": (LRS, LOSSES, {"div_factor": 0.5}, r"div_factor is 0\.5"),
    "a divisor that is none": (LRS, LOSSES, {"div_factor": math.nan}, r"div_factor is nan"),
    "too many steps": (np.geomspace(1, 2, MOST_STEPS + 1), np.zeros(MOST_STEPS + 1), {}, r"10,001 steps; at most"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_read_is_refused_with_its_place_and_a_fix(name: str) -> None:
    lrs, losses, settings, says = WRONG[name]
    with pytest.raises(InputError) as caught:
        suggest(lrs, losses, **settings)
    assert re.search(says, str(caught.value)), caught.value
    assert caught.value.fix.endswith(".")


def test_the_length_of_the_cycle_may_be_a_whole_number_of_numpy() -> None:
    steps: Any = np.int64(300)
    assert plan_of("sgd", 10.0, steps) == plan_of("sgd", 10.0, 300)
    wrongs: list[Any] = [True, 0, -1, 2.5, "300"]
    for wrong in wrongs:
        with pytest.raises(InputError, match="total_steps"):
            plan_of("sgd", 10.0, wrong)
