"""Scores `sweep-wd`: what a run with the chosen weight decay and max_lr loses against the best pair of a grid."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import Any

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


CONSTANTS = (1e-4, 5e-4, 1e-3)
"""Weight decays that need no sweep."""

DRAWS = 200
"""Of each random search."""

COLUMNS = ["task", "way", "repeats", "seeds", "cost", "weight_decay", "max_lr", "regret"]


@dataclass(frozen=True)
class Swept:
    """A task with runs over a grid of weight decay and max_lr, and range tests of each weight decay."""

    name: str
    truths: dict[float, Truth]
    noise: float
    tests: dict[tuple[float, int], Curve]
    steps: int

    @property
    def plan(self) -> CyclePlan:
        """What a rule is told of the task's cycle."""
        return plan_of(TASKS[self.name], self.steps)

    @property
    def seeds(self) -> list[int]:
        """Those with a range test of each weight decay."""
        return [
            seed
            for seed in sorted({seed for _, seed in self.tests})
            if all((wd, seed) in self.tests for wd in self.truths)
        ]

    def regret(self, weight_decay: float, max_lr: float) -> float:
        """What a run loses against the best pair of the grid; between two weight decays, interpolated over the log."""
        decays = sorted(self.truths)
        accuracies = [_accuracy(self.truths[wd], max_lr) for wd in decays]
        best = max(truth.best for truth in self.truths.values())
        return best - float(np.interp(np.log(weight_decay), np.log(decays), accuracies))


def decay_scores(grid: pd.DataFrame, curves: pd.DataFrame) -> pd.DataFrame:
    """A row for each task, way and seeds of the finder.

    A task is scored when each weight decay has cycles at the same max_lrs, and range tests.
    """
    rows = []
    for task in _tasks(grid, curves):
        rows += [row | {"task": task.name} for ways in (sweeps, constants, random_search) for row in ways(task)]
    return pd.DataFrame(rows, columns=COLUMNS)


def _tasks(grid: pd.DataFrame, curves: pd.DataFrame) -> Iterator[Swept]:
    for name, runs in groups(grid, "task"):
        tests = {
            key: Curve(group.lr.tolist(), group.train_loss.tolist())
            for key, group in groups(curves[curves.task == name], ["weight_decay", "seed"])
        }
        truths = {wd: truth_of(of_wd) for wd, of_wd in groups(runs, "weight_decay")}
        noise = float(np.mean([truth.noise for truth in truths.values()]))
        task = Swept(name, truths, noise, tests, int(runs.steps.max()))
        if _is_whole(runs) and task.seeds:
            yield task


def sweeps(task: Swept) -> Iterator[dict[str, Any]]:
    """What `sweep-wd` chooses from single tests, and from each three of them read together."""
    gain = gain_of(TASKS[task.name])
    for repeats in (1, 3):
        for some in combinations(task.seeds, repeats):
            read = [_swept(wd, [task.tests[wd, seed] for seed in some], task.plan) for wd in task.truths]
            chosen = read_weight_decay(read, gain=gain).chosen
            row: dict[str, Any] = {"way": "onecycle `sweep-wd`", "repeats": repeats, "seeds": " ".join(map(str, some))}
            row["cost"] = repeats * _tested_steps(task, some[0]) / task.steps
            if chosen is None or chosen.max_lr is None:
                yield row
                continue
            regret = task.regret(chosen.weight_decay, chosen.max_lr)
            yield row | {"weight_decay": chosen.weight_decay, "max_lr": chosen.max_lr, "regret": regret}


def constants(task: Swept) -> Iterator[dict[str, Any]]:
    """A weight decay that no one measured, with the max_lr of one range test at the nearest weight decay."""
    for decay in CONSTANTS:
        nearest = min(task.truths, key=lambda wd: abs(math.log(wd / decay)))
        for seed in task.seeds:
            max_lr = suggest([task.tests[nearest, seed]], task.plan).max_lr
            row: dict[str, Any] = {
                "way": f"always {decay:g}, `find-lr`",
                "repeats": 1,
                "seeds": str(seed),
                "weight_decay": decay,
            }
            row["cost"] = len(task.tests[nearest, seed].lrs) / task.steps
            yield row if max_lr is None else row | {"max_lr": max_lr, "regret": task.regret(decay, max_lr)}


def random_search(task: Swept) -> Iterator[dict[str, Any]]:
    """The mean of searches that train pairs of the grid at random, at least one, for the cost of `sweep-wd`."""
    rng = np.random.default_rng(0)
    runs = max(1, round(_tested_steps(task, task.seeds[0]) / task.steps))
    pairs = [(wd, float(np.exp(log_lr))) for wd, truth in task.truths.items() for log_lr in truth.log_lrs]
    regrets = np.array([task.regret(*pair) for pair in pairs])
    for draw in range(DRAWS):
        tried = rng.choice(len(pairs), runs)
        best = tried[np.argmin(regrets[tried] + task.noise * rng.standard_normal(runs))]
        pair = {"weight_decay": pairs[best][0], "max_lr": pairs[best][1]}
        yield {"way": "random search", "repeats": 1, "seeds": str(draw), "cost": runs, "regret": regrets[best]} | pair


def _tested_steps(task: Swept, seed: int) -> int:
    return sum(len(task.tests[wd, seed].lrs) for wd in task.truths)


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
    """What each way of choosing the weight decay loses on each task, and on all, in Markdown."""
    rows: list[tuple[object, ...]] = []
    points = scores.assign(
        regret=100 * scores.regret, way=scores.way.where(scores.repeats == 1, scores.way + ", `--repeats 3`")
    )
    for way, of_way in groups(points, "way", sort=False):
        by_task = of_way.groupby("task")
        worst, mean, cost = of_way.regret.max(), by_task.regret.mean().mean(), by_task.cost.mean().mean()
        rows.append((way, "all", f"{cost:.2g}", "", f"{worst:.1f}", f"{mean:.1f}"))
        for task, group in by_task:
            counts = group.weight_decay.value_counts(normalize=True).sort_index()
            chosen = ", ".join(f"{share:.0%} {wd:g}" for wd, share in counts.items()) if "sweep" in way else ""
            numbers = (f"{group.cost.mean():.2g}", chosen, f"{group.regret.max():.1f}", f"{group.regret.mean():.1f}")
            rows.append((way, task, *numbers))
    return markdown(("way", "task", "extra compute", "chosen", "worst regret", "mean regret"), rows)
