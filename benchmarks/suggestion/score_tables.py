"""The tables of scores in Markdown, for docs/suggestion.md and the README."""

from collections.abc import Iterable, Sequence

import pandas as pd
from answers import groups
from our_ways import FIND_LR, KIND
from ways import FALLBACK

HELD_OUT = "held out"
PARTS = ("first", "fitted", "checked", HELD_OUT)
WORDS = ("high", "medium", "low")

SMALL_TEST_SET = "digits-resnet8-64"
"""Its 360 test images cannot tell a point from another; it is told apart."""

ORDER, DIRECTION = ["tasks", "mean", "cost"], [False, True, True]
"""Of the rows of a table of ways."""

NOTHING = "*Not measured yet.*"


def tables_of(scores: pd.DataFrame) -> dict[str, str]:
    """The tables by the names of their marks."""
    held_out = scores[scores.part == HELD_OUT]
    seen = scores[(scores.part != HELD_OUT) & (scores.task != SMALL_TEST_SET)]
    return {
        "short_table": ways_table(shown_first(summary(with_fallback(held_out)), (KIND, "constant", "without max_lr"))),
        "held_out_table": ways_table(summary(held_out)),
        "seen_table": ways_table(summary(seen)),
        "held_out_fallback": ways_table(summary(with_fallback(held_out))),
        "seen_fallback": ways_table(summary(with_fallback(seen))),
        "by_task": by_task(scores),
        "coverage_table": coverage_table(scores),
        "confidence_table": confidence_table(scores),
    }


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table, or a sentence if it has no rows."""
    lines = [f"| {' | '.join(map(str, cells))} |" for cells in rows]
    if not lines:
        return NOTHING
    return "\n".join([f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}", *lines])


def summary(scores: pd.DataFrame) -> pd.DataFrame:
    """A row a way: regrets in points, `mean` with the same weight for each task.

    `worst` is the greatest regret of a seed on any task. A refusal has no regret, unless `with_fallback` gave it one;
    `refused` is their share. The least mean comes first, but a way that was measured on fewer tasks stands below those
    on more: it cannot be compared.
    """
    rows = []
    for (kind, way), group in groups(scores, ["kind", "way"], sort=False):
        by_task = group.groupby("task")
        rows.append(
            {"kind": kind, "way": way, "tasks": len(by_task), "cost": by_task.cost.mean().mean()}
            | {"worst": 100 * group.regret.max(), "mean": 100 * by_task.regret.mean().mean()}
            | {"refused": by_task.refused.mean().mean()}
        )
    columns = ["kind", "way", "tasks", "cost", "worst", "mean", "refused"]
    return pd.DataFrame(rows, columns=columns).sort_values(ORDER, ascending=DIRECTION, ignore_index=True)


def ways_table(rows: pd.DataFrame) -> str:
    """The ways with what they cost and lose."""
    return markdown(
        ("way", "extra compute", "worst", "mean", "refused", "tasks"),
        (
            (
                named(row["kind"], row["way"]),
                f"{row['cost']:.2g}" if row["cost"] else "0",
                f"{row['worst']:.1f}",
                f"{row['mean']:.1f}",
                f"{row['refused']:.0%}",
                row["tasks"],
            )
            for row in rows.to_dict("records")
        ),
    )


def named(kind: str, way: str) -> str:
    """A way as a table names it: ours in bold, a constant as one."""
    if kind == KIND:
        return f"**{way}**"
    return f"constant: {way}" if kind == "constant" else way


def shown_first(rows: pd.DataFrame, whole: Sequence[str] = (KIND,)) -> pd.DataFrame:
    """All ways of the kinds in `whole`, and of each other kind the way with the least mean regret on the most tasks."""
    rows = rows.sort_values(ORDER, ascending=DIRECTION)
    return rows[rows.kind.isin(whole) | ~rows.duplicated("kind")].reset_index(drop=True)


def with_fallback(scores: pd.DataFrame) -> pd.DataFrame:
    """The scores with the regret of the max_lr that a refusal names in its place, or of the constant `FALLBACK`."""
    constant = scores[scores.way == FALLBACK].set_index("task").regret
    return scores.assign(regret=scores.regret.fillna(scores.fallback).fillna(scores.task.map(constant)))


def by_task(scores: pd.DataFrame) -> str:
    """Our suggestions on each task beside the best max_lr."""
    mine = scores[scores.way == FIND_LR]
    rows = []
    for part in PARTS:
        for task, group in groups(mine[mine.part == part], "task", sort=False):
            points, first = 100 * group.regret, group.iloc[0]
            low, high, refused = group.max_lr.min(), group.max_lr.max(), group.max_lr.isna().sum()
            suggested = f"{low:.2g} to {high:.2g}" if refused < len(group) else "nothing"
            lost = (f"{points.mean():.1f}", f"{points.max():.1f}") if refused < len(group) else ("", "")
            best = (f"{first.best_max_lr:.2g}", f"{first.best_accuracy:.1%}")
            rows.append((task, part, *best, suggested, f"{refused} of {len(group)}", *lost, f"{100 * first.error:.1f}"))
    head = ("task", "part", "best max_lr", "accuracy there", "suggested", "refused", "mean regret", "worst regret")
    return markdown((*head, "s.e."), rows)


def coverage_table(scores: pd.DataFrame) -> str:
    """How often our suggestions lose at most their bound of 90 %, and at most what they expect in the mean."""
    mine = _with_points(scores).dropna(subset=["bound"])
    rows = []
    for part in PARTS:
        for way, group in groups(mine[mine.part == part], "way", sort=False):
            inside = (group.points <= group.bound).groupby(group.task).mean().mean()
            bound, expected, lost = group.bound.median(), group.expected.mean(), group.points.mean()
            numbers = (f"{bound:.1f}", f"{expected:.1f}", f"{lost:.1f}")
            rows.append((part, way, len(group), f"{inside:.0%}", *numbers))
    head = ("part", "way", "tests", "lost at most the bound", "median bound", "told", "lost on average")
    return markdown(head, rows)


def confidence_table(scores: pd.DataFrame) -> str:
    """What each word of confidence stands for, on the tasks that constants were chosen on and on the others."""
    mine = _with_points(scores[scores.way == FIND_LR])
    rows = []
    for on, group in (("seen", mine[mine.part != HELD_OUT]), (HELD_OUT, mine[mine.part == HELD_OUT])):
        for word in WORDS:
            points = group.points[group.confidence == word]
            if len(points):
                good = (points <= 1).mean()
                share = len(points) / len(group)
                rows.append((on, word, f"{share:.0%}", f"{good:.0%}", f"{points.mean():.1f}", f"{points.max():.1f}"))
    return markdown(("tasks", "confidence", "of tests", "at most 1 point", "mean regret", "worst regret"), rows)


def _with_points(scores: pd.DataFrame) -> pd.DataFrame:
    mine = scores[(scores.kind == KIND) & (scores.task != SMALL_TEST_SET)]
    return mine.assign(points=100 * mine.regret)


def forms_table(forms: pd.DataFrame) -> str:
    """The median max_lr from range tests of each form, a column a task, and the largest factor between forms."""
    medians = forms.pivot_table(index="form", columns="task", values="max_lr", aggfunc="median", sort=False)
    rows: list[tuple[object, ...]] = [(form, *map(_lr, row)) for form, *row in medians.itertuples()]
    if rows:
        rows.append(("largest factor", *(f"{factor:.1f}" for factor in medians.max() / medians.min())))
    return markdown(("form", *medians.columns), rows)


def _lr(max_lr: float) -> str:
    return "" if pd.isna(max_lr) else f"{max_lr:.2g}"
