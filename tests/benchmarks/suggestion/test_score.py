import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import pandas as pd
import pytest

Module = Callable[[str], ModuleType]
COMMITTED = Path(__file__).parents[3] / "benchmarks" / "results" / "suggestion"


@pytest.mark.slow
def test_the_committed_scores_follow_from_the_committed_curves_and_runs(
    module: Module, start: Callable[..., str], results: Path
) -> None:
    score = module("score")
    again = results / "suggestion"
    again.mkdir(parents=True)
    for name in score.COLUMNS:
        if (COMMITTED / f"{name}.csv").exists():
            shutil.copy(COMMITTED / f"{name}.csv", again)
    printed = start("suggestion/score.py")
    has_optuna = find_spec("optuna") is not None
    assert ("Optuna's searches are left out" in printed) == (not has_optuna)
    for name in score.SCORES:
        made, committed = (pd.read_csv(folder / f"{name}.csv") for folder in (again, COMMITTED))
        if name == "scores" and not has_optuna:
            committed = committed[~committed.way.str.startswith("Optuna")].reset_index(drop=True)
        pd.testing.assert_frame_equal(made, committed, rtol=1e-4, check_dtype=False)
    assert (results / "regret.png").exists()


def test_a_row_says_what_an_answer_loses_and_what_the_best_is(module: Module) -> None:
    score, answers = module("score"), module("answers")
    task = module("tasks").TASKS["mnist-2000-resnet8-32"]
    runs = pd.DataFrame({"max_lr": [0.1, 0.2, 0.4], "valid_accuracy": [0.7, 0.9, 0.5]})
    judged = answers.Judged("mnist-2000-resnet8-32", task, runs, module("truth").truth_of(runs), steps=50)
    row = score._row(answers.Answer("library's rule", "a rule", judged.name, 100, 0.1, cost=2.0), judged)
    assert set(row) == set(score.ROW)
    assert row["regret"] == pytest.approx(0.2)
    assert (row["part"], row["best_max_lr"], row["best_accuracy"]) == ("first", pytest.approx(0.2), 0.9)
    refused = score._row(answers.Answer("library's rule", "a rule", judged.name, 100, None), judged)
    assert pd.isna(refused["regret"])
    beats = score._row(answers.Answer("without max_lr", "Prodigy", judged.name, 0, None, regret=-0.01), judged)
    assert beats["regret"] == -0.01


def test_the_suggestion_of_each_form_is_that_of_its_curve(module: Module) -> None:
    score = module("score")
    curves = pd.read_csv(COMMITTED / "curves.csv")
    of_task = curves[(curves.task == "mnist-2000-resnet8-32") & (curves.range == "recipe")]
    forms = score.form_scores(of_task.assign(form="100 steps"))
    assert list(forms.seed) == sorted(of_task.seed.unique())
    assert (forms.max_lr > 0.1).all()
    assert (forms.max_lr < 0.4).all()
    assert score.form_scores(of_task.assign(form="")[:0]).empty


def test_tables_stand_behind_their_marks_up_to_an_empty_line(module: Module) -> None:
    page = "before\n\n<!-- score.py: a -->\n| old |\n\nafter\n<!-- score.py: b -->\n"
    made = module("score").with_tables(page, {"a": "| new |\n| rows |", "b": "| b |", "c": "nowhere"})
    assert made == "before\n\n<!-- score.py: a -->\n| new |\n| rows |\n\nafter\n<!-- score.py: b -->\n| b |\n"
