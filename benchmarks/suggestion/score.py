"""Scores every way of choosing max_lr on every task, from the committed measurements, in seconds.

    python benchmarks/suggestion/score.py

Writes benchmarks/results/suggestion/scores.csv: for each way, task and seed the max_lr, what a run at it loses against
the best of the truth, and what the choice costs; form_scores.csv: what is suggested from range tests of other forms;
decay_scores.csv, the same as scores.csv for `sweep-wd`; and, if the results are the committed ones, the tables in
docs/suggestion.md and the README, and docs/images/regret.png.
"""

import re
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parent))

from answers import Answer, Judged, groups, judged_tasks, plan_of
from our_ways import range_tests, with_short_cycles
from picture import draw_regret
from rows import COMMITTED, csv_file, results
from score_tables import forms_table, tables_of
from searches import searched, short_grids
from sweep_wd import decay_scores, decay_table
from tasks import TASKS
from ways import constants, libraries, own_loops, simple, without_lr

from onecycle_cli.analysis.lr_range import Curve, suggest

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs" / "suggestion.md", ROOT / "README.md")
FIGURE = ROOT / "docs" / "images" / "regret.png"

COLUMNS = {
    "truth": ("task", "seed", "max_lr", "steps", "valid_loss", "valid_accuracy"),
    "curves": ("task", "seed", "range", "lr", "train_loss"),
    "short": ("task", "seed", "share", "max_lr", "steps", "valid_loss"),
    "lr_free": ("task", "seed", "optimizer", "valid_accuracy"),
    "own_loops": ("task", "seed", "library", "rule", "max_lr", "steps"),
    "forms": ("task", "seed", "form", "lr", "train_loss"),
    "decay": ("task", "seed", "weight_decay", "max_lr", "steps", "valid_accuracy"),
    "decay_curves": ("task", "seed", "weight_decay", "lr", "train_loss"),
}
"""What is read of each file of measurements."""


SCORES = ("scores", "form_scores", "decay_scores")
"""The files that are written, in the order of the arguments of `all_tables`."""


def main() -> None:
    """Scores, writes and prints."""
    made = (
        scored(*map(measured, ("truth", "curves", "short", "own_loops", "lr_free"))),
        form_scores(measured("forms")),
        decay_scores(*map(measured, ("decay", "decay_curves"))),
    )
    for name, rows in zip(SCORES, made, strict=True):
        rows.to_csv(csv_file(f"suggestion/{name}"), index=False, float_format="%.6g")
    # Read again, because a test makes the tables from the files: a number may round otherwise after its sixth digit.
    scores, forms, decay = (pd.read_csv(csv_file(f"suggestion/{name}")) for name in SCORES)
    tables = all_tables(scores, forms, decay)
    if results() == COMMITTED:
        for page in PAGES:
            page.write_text(with_tables(page.read_text(), tables))
    draw_regret(scores, FIGURE if results() == COMMITTED else results() / "regret.png")
    print(tables["short_table"])
    if not find_spec("optuna"):
        print("\nOptuna's searches are left out: it is not installed (extra `benchmark`).")


def measured(name: str) -> pd.DataFrame:
    """The columns of a file that benchmarks/suggestion/measure.py or rivals.py wrote; no rows if it is not there."""
    file = csv_file(f"suggestion/{name}")
    if not file.exists():
        return pd.DataFrame(columns=list(COLUMNS[name]))
    return pd.read_csv(file, usecols=list(COLUMNS[name]))


def all_tables(scores: pd.DataFrame, forms: pd.DataFrame, decay: pd.DataFrame) -> dict[str, str]:
    """The tables by the names of their marks."""
    return tables_of(scores) | {"forms_table": forms_table(forms), "decay_table": decay_table(decay)}


def with_tables(page: str, tables: dict[str, str]) -> str:
    """`page` with each table behind its mark, `<!-- score.py: NAME -->`, up to the next empty line."""
    for name, text in tables.items():
        page = re.sub(rf"(<!-- score.py: {name} -->\n)(?:.+\n)*", partial(_below_mark, text), page)
    return page


def _below_mark(text: str, mark: re.Match[str]) -> str:
    return f"{mark[1]}{text}\n"


def scored(
    runs: pd.DataFrame, curves: pd.DataFrame, short: pd.DataFrame, loops: pd.DataFrame, lr_free: pd.DataFrame
) -> pd.DataFrame:
    """A row for each way, task and seed, on the tasks whose truth is whole."""
    tasks = judged_tasks(runs, curves)
    by_name = {judged.name: judged for judged in tasks}
    return pd.DataFrame(
        [_row(answer, by_name[answer.task]) for answer in answers(tasks, short, loops, lr_free)],
        columns=list(ROW),
    )


ROW = (
    *("kind", "way", "task", "part", "seed", "max_lr", "cost", "refused", "regret", "fallback"),
    *("confidence", "expected", "bound", "best_max_lr", "best_accuracy", "error"),
)
"""The columns of scores.csv. Regrets and errors are shares, `expected` and `bound` are points of accuracy.

`fallback` is the regret of the max_lr that a refusal names."""


def answers(
    tasks: Sequence[Judged], short: pd.DataFrame, loops: pd.DataFrame, lr_free: pd.DataFrame
) -> Iterator[Answer]:
    """All ways on all tasks."""
    yield from range_tests(tasks)
    yield from with_short_cycles(tasks, short)
    yield from constants(tasks)
    yield from without_lr(tasks, lr_free)
    yield from libraries(tasks)
    yield from own_loops(tasks, loops)
    yield from simple(tasks)
    yield from short_grids(tasks, short)
    yield from searched(tasks)


def _row(answer: Answer, judged: Judged) -> dict[str, object]:
    truth = judged.truth
    values = vars(answer) | {
        "part": judged.task.part,
        "refused": answer.max_lr is None and answer.regret is None,
        "regret": np.nan,
        "fallback": np.nan,
        "best_max_lr": truth.best_lr,
        "best_accuracy": truth.best,
        "error": truth.error,
    }
    if answer.regret is not None:
        values["regret"] = answer.regret
    elif answer.max_lr is not None:
        values["regret"] = truth.regret(answer.max_lr)
    elif answer.guess is not None:
        values["fallback"] = truth.regret(answer.guess)
    return {column: values[column] for column in ROW}


def form_scores(tests: pd.DataFrame) -> pd.DataFrame:
    """What is suggested from each range test of another form."""
    rows = []
    for (task, form, seed), test in groups(tests, ["task", "form", "seed"], sort=False):
        suggestion = suggest([Curve(test.lr.tolist(), test.train_loss.tolist())], plan_of(TASKS[task]))
        rows.append({"task": task, "form": form, "seed": seed, "max_lr": suggestion.max_lr})
    return pd.DataFrame(rows, columns=["task", "form", "seed", "max_lr"])


if __name__ == "__main__":
    main()
