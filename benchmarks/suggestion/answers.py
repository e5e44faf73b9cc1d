"""What a way of choosing max_lr answers on a task, and what ways are told of the tasks."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
from task import Task
from tasks import TASKS
from truth import Truth, is_whole, truth_of

from onecycle_cli.analysis.lr_range import Curve, CyclePlan


@dataclass(frozen=True)
class Answer:
    """A max_lr, or None where the way refuses one, and its cost in planned runs, the planned run itself not counted.

    `kind` groups ways. `seed` is that of the range test or the search. `regret` is given by ways that have no single
    max_lr: optimizers without a learning rate, and searches, which are averaged over draws. `expected` and `bound` are
    points of accuracy that a suggestion says it may lose: in the mean, and at most with 90 %. `guess` is the max_lr
    that a refusal names.
    """

    kind: str
    way: str
    task: str
    seed: int
    max_lr: float | None
    cost: float = 0.0
    regret: float | None = None
    confidence: str | None = None
    expected: float | None = None
    bound: float | None = None
    guess: float | None = None


@dataclass(frozen=True)
class Judged:
    """A task with a whole truth: its runs, its truth, the steps of a run, its range tests by range and seed."""

    name: str
    task: Task
    runs: pd.DataFrame
    truth: Truth
    steps: int
    tests: dict[tuple[str, int], Curve] = field(default_factory=dict)

    @property
    def plan(self) -> CyclePlan:
        """What a rule is told of the task's cycle."""
        return plan_of(self.task, self.steps)

    @property
    def batch_size(self) -> int:
        """The images of a step."""
        return int(self.task.changes["data.batch_size"])

    def tests_over(self, kind: str) -> Iterator[tuple[int, Curve]]:
        """The range tests over one range, with their seeds."""
        yield from ((seed, curve) for (of, seed), curve in self.tests.items() if of == kind)


def plan_of(task: Task, steps: int | None = None) -> CyclePlan:
    """What a rule is told of a task's cycle of so many steps."""
    return CyclePlan(task.changes.get("optimizer.name", "sgd"), div_factor=10, total_steps=steps)


def judged_tasks(runs: pd.DataFrame, curves: pd.DataFrame) -> list[Judged]:
    """The tasks whose truth is whole."""
    judged = []
    for name, task in TASKS.items():
        of_task = runs[runs.task == name]
        if is_whole(of_task, task.grid):
            tests = {
                key: Curve(group.lr.tolist(), group.train_loss.tolist())
                for key, group in groups(curves[curves.task == name], ["range", "seed"])
            }
            judged.append(Judged(name, task, of_task, truth_of(of_task), int(of_task.steps.max()), tests))
    return judged


def groups(rows: pd.DataFrame, by: str | list[str], *, sort: bool = True) -> Iterator[tuple[Any, pd.DataFrame]]:
    """The groups of rows that are alike in `by`, with the value or the values there, which pandas has no type for."""
    yield from rows.groupby(by, sort=sort)
