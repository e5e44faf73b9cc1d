"""Draws what each way of choosing max_lr loses over what it costs."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
from our_ways import KIND
from score_tables import HELD_OUT, SMALL_TEST_SET, named, shown_first, summary, with_fallback

if TYPE_CHECKING:
    from matplotlib.axes import Axes

LINEAR_TO = 0.25
"""Planned runs, up to which the axis of compute is linear: so it has a zero."""

LINEAR_POINTS = 1.0
"""The same for the axis of regret."""

OURS, CONSTANT, WITHOUT_LR, OTHER = "#0072B2", "#D55E00", "#009E73", "#666666"
COLORS = {KIND: OURS, "constant": CONSTANT, "without max_lr": WITHOUT_LR}


def draw_regret(scores: pd.DataFrame, path: Path) -> None:
    """Two panels over the extra compute, mean and worst regret: ours, and the best way of each other kind.

    On the held-out tasks; on the others as long as none of these is measured. A refusal counts as what the user takes
    in its place. The ways have numbers, which the legend explains: names would lie on each other. What was measured on
    fewer tasks than others is pale.
    """
    from matplotlib.figure import Figure

    held_out = with_fallback(scores[scores.part == HELD_OUT])
    shown = held_out if len(held_out) else with_fallback(scores[scores.task != SMALL_TEST_SET])
    # Ours last, so that they lie above the others.
    rows = shown_first(summary(shown)).assign(
        is_ours=lambda rows: rows.kind == KIND, is_whole=lambda rows: rows.tasks == rows.tasks.max()
    )
    rows = rows.sort_values(["is_ours", "cost", "mean"], ignore_index=True)
    figure = Figure(figsize=(9, 4.2 + 0.24 * (len(rows) // 2)), layout="constrained")
    panels = figure.subplots(1, 2)
    for axes, column in zip(panels, ("mean", "worst"), strict=True):
        _panel(axes, rows, column)
    tasks = f"{shown.task.nunique()} {'held-out' if len(held_out) else 'seen'} tasks"
    figure.suptitle(f"Accuracy lost against the best max_lr, on {tasks}", fontsize=11)
    handles = panels[0].collections
    numbered = [f"{number}  {_label(row)}" for number, row in enumerate(rows.to_dict("records"), start=1)]
    figure.legend(handles, numbered, loc="outside lower center", ncols=2, fontsize=8.5, frameon=False, markerscale=0.7)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)


def _label(row: Mapping[Hashable, Any]) -> str:
    name = named(row["kind"], row["way"]).replace("*", "").replace("`", "")
    return name if row["is_whole"] else f"{name} ({row['tasks']} tasks)"


def _panel(axes: "Axes", rows: pd.DataFrame, column: str) -> None:
    for number, row in enumerate(rows.to_dict("records"), start=1):
        color, at = COLORS.get(row["kind"], OTHER), (row["cost"], row[column])
        size, alpha = 90 if row["is_ours"] else 60, 1 if row["is_whole"] else 0.45
        axes.scatter(*at, s=size, c=color, alpha=alpha, edgecolors="white", zorder=2 + number)
        # Ours above and below in turn, others on the left: points may lie on each other.
        look: dict[str, Any] = {"ha": "center", "weight": "bold"} if row["is_ours"] else {"ha": "right"}
        beside = (0, 11 if number % 2 else -11) if row["is_ours"] else (-6, 0)
        axes.annotate(
            str(number), at, beside, textcoords="offset points", va="center", color=color, fontsize=8.5, **look
        )
    axes.set_xscale("symlog", linthresh=LINEAR_TO, linscale=0.7)
    axes.set_yscale("symlog", linthresh=LINEAR_POINTS, linscale=0.7)
    axes.set_xticks(ticks := [0, 0.25, 0.5, 1, 2, 4, 8], [f"{tick:g}" for tick in ticks], minor=False)
    axes.set_xticks([], minor=True)
    low, high = rows[column].min(), rows[column].max()
    steps = [
        step for step in (-10, -3, -1, -0.5, 0, 0.5, 1, 2, 5, 10, 20, 50, 100) if low - 0.45 <= step <= 1.5 * high + 1
    ]
    axes.set_yticks(steps, [f"{step:g}" for step in steps])
    axes.set_yticks([], minor=True)
    axes.set(xlabel="extra compute, in planned runs", ylabel=f"{column} regret, in points", xlim=(-0.1, 12))
    axes.grid(color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
