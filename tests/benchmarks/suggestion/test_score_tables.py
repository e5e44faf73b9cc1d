from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

Module = Callable[[str], ModuleType]
OURS = "onecycle `find-lr`"


def rows(*given: dict[str, Any]) -> pd.DataFrame:
    """Scores with everything that a test does not say."""
    usual = {"kind": "onecycle", "way": OURS, "task": "a", "part": "held out", "seed": 0, "max_lr": 0.1, "cost": 1.0}
    usual |= {"regret": 0.0, "confidence": "high", "expected": 0.2, "bound": 1.0}
    usual |= {"best_max_lr": 0.2, "best_accuracy": 0.9, "error": 0.004}
    usual |= {"fallback": np.nan}
    return pd.DataFrame([usual | row for row in given]).assign(refused=lambda scores: scores.regret.isna())


def test_each_task_has_the_same_weight_in_a_mean(module: Module) -> None:
    scores = rows({"regret": 0.01}, {"regret": 0.03}, {"task": "b", "regret": 0.06, "cost": 3.0})
    (row,) = module("score_tables").summary(scores).to_dict("records")
    # By hand: (2 + 6) / 2 points, (1 + 3) / 2 runs.
    assert (row["mean"], row["worst"], row["cost"], row["tasks"]) == (pytest.approx(4), pytest.approx(6), 2, 2)
    assert row["refused"] == 0


def test_a_refusal_has_no_regret_or_that_of_the_constant_or_of_the_max_lr_that_it_names(module: Module) -> None:
    tables = module("score_tables")
    constant = {"kind": "constant", "way": module("ways").FALLBACK, "regret": 0.08, "cost": 0.0}
    scores = rows({"regret": 0.02}, {"regret": np.nan, "max_lr": np.nan}, constant)
    alone = tables.summary(scores).set_index("way").loc[OURS]
    assert (alone["mean"], alone.refused) == (pytest.approx(2), 0.5)
    filled = tables.summary(tables.with_fallback(scores)).set_index("way").loc[OURS]
    assert (filled["mean"], filled["worst"], filled.refused) == (pytest.approx(5), pytest.approx(8), 0.5)
    named = scores.assign(fallback=[np.nan, 0.04, np.nan])
    assert tables.summary(tables.with_fallback(named)).set_index("way").loc[OURS, "worst"] == pytest.approx(4)


def test_the_readme_has_all_of_ours_and_the_best_of_each_other_kind(module: Module) -> None:
    tables = module("score_tables")
    others = [
        {"kind": "constant", "way": "0.1", "regret": 0.05, "cost": 0.0},
        {"kind": "constant", "way": "0.2", "regret": 0.03, "cost": 0.0},
        {"kind": "without max_lr", "way": "Prodigy", "regret": -0.01, "cost": 0.0},
    ]
    other = {"task": "b", "regret": 0.03}
    scores = rows(
        {}, {"way": "onecycle `find-lr`, `--repeats 3`", "regret": 0.04}, *others, *(o | other for o in others)
    )
    shown = tables.shown_first(tables.summary(scores))
    assert list(shown.way) == ["Prodigy", "0.2", OURS, "onecycle `find-lr`, `--repeats 3`"]
    lines = tables.ways_table(shown).splitlines()
    assert lines[4] == "| **onecycle `find-lr`** | 1 | 0.0 | 0.0 | 0% | 1 |"
    assert lines[3] == "| constant: 0.2 | 0 | 3.0 | 3.0 | 0% | 2 |"


def test_a_way_measured_on_few_tasks_is_not_the_best_of_its_kind(module: Module) -> None:
    tables = module("score_tables")
    wide = {"kind": "library's rule", "way": "wide", "regret": 0.05}
    scores = rows(wide, wide | {"task": "b"}, {"kind": "library's rule", "way": "narrow", "regret": 0.01})
    assert list(tables.shown_first(tables.summary(scores)).way) == ["wide"]


def test_a_task_has_its_best_max_lr_beside_what_was_suggested(module: Module) -> None:
    scores = rows(
        {"regret": 0.01}, {"max_lr": 0.3, "regret": 0.02}, {"max_lr": np.nan, "regret": np.nan},
        {"task": "b", "part": "first", "max_lr": np.nan, "regret": np.nan},
    )  # fmt: skip
    lines = module("score_tables").by_task(scores).splitlines()[2:]
    assert lines == [
        "| b | first | 0.2 | 90.0% | nothing | 1 of 1 |  |  | 0.4 |",
        "| a | held out | 0.2 | 90.0% | 0.1 to 0.3 | 1 of 3 | 1.5 | 2.0 | 0.4 |",
    ]


def test_coverage_is_the_share_of_tests_that_lose_at_most_their_bound(module: Module) -> None:
    scores = rows(
        {"regret": 0.01}, {"regret": 0.011}, {"task": "b", "regret": 0.0, "bound": 2.0},
        {"part": "fitted", "bound": np.nan},
    )  # fmt: skip
    line = module("score_tables").coverage_table(scores).splitlines()[2:]
    # By hand: half of the tests of one task, all of the other.
    assert line == ["| held out | onecycle `find-lr` | 3 | 75% | 1.0 | 0.2 | 0.7 |"]


def test_each_word_of_confidence_has_its_regret(module: Module) -> None:
    scores = rows({"regret": 0.005}, {"regret": 0.015}, {"confidence": "low", "regret": 0.04}, {"part": "first"})
    assert module("score_tables").confidence_table(scores).splitlines()[2:] == [
        "| seen | high | 100% | 100% | 0.0 | 0.0 |",
        "| held out | high | 67% | 50% | 1.0 | 1.5 |",
        "| held out | low | 33% | 0% | 4.0 | 4.0 |",
    ]


def test_the_forms_of_a_task_have_the_factor_between_them(module: Module) -> None:
    forms = pd.DataFrame(
        {"task": "a", "form": ["40 steps"] * 3 + ["linear"] * 2, "max_lr": [0.1, 0.2, 9.0, 0.5, np.nan]}
    )
    assert module("score_tables").forms_table(forms).splitlines() == [
        "| form | a |",
        "| --- | --- |",
        "| 40 steps | 0.2 |",
        "| linear | 0.5 |",
        "| largest factor | 2.5 |",
    ]


def test_a_table_without_rows_says_so(module: Module) -> None:
    tables = module("score_tables")
    assert set(tables.tables_of(rows({})[:0]).values()) == {tables.NOTHING}
    assert tables.forms_table(pd.DataFrame(columns=["task", "form", "max_lr"])) == tables.NOTHING
