"""Scores `sweep-wd`: what a run with the chosen weight decay and max_lr loses against the best pair of a grid."""

from itertools import combinations

import numpy as np
import pandas as pd
from answers import groups, plan_of
from score_tables import markdown
from task import Task
from tasks import TASKS
from truth import Truth, truth_of

from onecycle_cli.analysis.lr_range import Curve, CyclePlan, suggest
from onecycle_cli.analysis.lr_range.basin import turn_of
from onecycle_cli.analysis.weight_decay import SweepRow, read_weight_decay

PEAK_MOMENTUM = 0.85
"""Of the recipes that tasks are made from."""


def decay_scores(grid: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """A row for each task and finder seed, and for each three of them read together (`repeats` 3).

    A task is scored when each weight decay has cycles at the same max_lrs, and range tests.
    """
    rows = []
    for task, runs in groups(grid, "task"):
        tests = {
            key: Curve(group.lr.tolist(), group.train_loss.tolist())
            for key, group in groups(curves[curves.task == task], ["weight_decay", "seed"])
        }
        decays = sorted(set(runs.weight_decay))
        seeds = [seed for seed in sorted({seed for _, seed in tests}) if all((wd, seed) in tests for wd in decays)]
        if not _is_whole(runs) or not seeds:
            continue
        truths = {wd: truth_of(of_wd) for wd, of_wd in groups(runs, "weight_decay")}
        best = max(truth.best for truth in truths.values())
        plan, gain = plan_of(TASKS[task]), gain_of(TASKS[task])
        for repeats in (1, 3):
            for some in combinations(seeds, repeats):
                read = [_swept(wd, [tests[wd, seed] for seed in some], plan) for wd in truths]
                chosen = read_weight_decay(read, gain=gain).chosen
                row = {"task": task, "repeats": repeats, "seeds": " ".join(map(str, some))}
                if chosen is None or chosen.max_lr is None:
                    rows.append(row | {"weight_decay": np.nan, "max_lr": np.nan, "regret": np.nan})
                    continue
                regret = best - _accuracy(truths[chosen.weight_decay], chosen.max_lr)
                rows.append(row | {"weight_decay": chosen.weight_decay, "max_lr": chosen.max_lr, "regret": regret})
    return pd.DataFrame(rows, columns=["task", "repeats", "seeds", "weight_decay", "max_lr", "regret"])


def gain_of(task: Task) -> float:
    """By how much momentum amplifies the weight decay at the peak of lr; not for AdamW."""
    if plan_of(task).optimizer == "adamw":
        return 1.0
    return 1 / (1 - float(task.changes.get("schedule.base_momentum", PEAK_MOMENTUM)))


def _is_whole(runs: pd.DataFrame) -> bool:
    counts = runs.groupby(["weight_decay", "max_lr"]).size().unstack()
    return bool(counts.notna().all(axis=None) and (counts >= 2).all(axis=None))


def _accuracy(truth: Truth, max_lr: float) -> float:
    """The grid of max_lr is short: beyond its ends it counts as its end."""
    low, high = np.exp(truth.log_lrs[[0, -1]])
    return float(truth.accuracy(np.clip(max_lr, low, high)))


def _swept(weight_decay: float, curves: list[Curve], plan: CyclePlan) -> SweepRow:
    suggestion, turn = suggest(curves, plan), turn_of(curves)
    reach = turn.reach_lr if turn else None
    return SweepRow(weight_decay, None, None, reach, None, suggestion.max_lr, "finished")


def decay_table(scores: pd.DataFrame) -> str:
    """The choices of sweep-wd, in Markdown."""
    rows = []
    for (task, repeats), group in groups(scores, ["task", "repeats"]):
        counts = group.weight_decay.value_counts(normalize=True).sort_index()
        chosen = ", ".join(f"{share:.0%} {wd:g}" for wd, share in counts.items())
        points = 100 * group.regret
        rows.append((task, repeats, chosen, f"{points.max():.1f}", f"{points.mean():.1f}"))
    return markdown(("task", "repeats", "chosen", "worst regret", "mean regret"), rows)
