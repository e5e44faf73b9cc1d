from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

Module = Callable[[str], ModuleType]
SGD, ADAMW = "mnist-2000-resnet8-32", "mnist-2000-resnet8-128-adamw-long"


def max_lrs(answers: Any) -> dict[tuple[str, str], float | None]:
    return {(answer.task, answer.way): answer.max_lr for answer in answers}


def test_constants_follow_from_the_optimizer_the_batch_size_and_the_classes(
    module: Module, judged: Callable[..., Any]
) -> None:
    ways = module("ways")
    given = list(ways.constants([judged(SGD), judged(ADAMW)]))
    assert all(answer.cost == 0 for answer in given)
    got = max_lrs(given)
    assert got[SGD, ways.FALLBACK] == 0.15
    assert got[ADAMW, ways.FALLBACK] == 0.01
    scaled = "0.1 x batch size / 256; AdamW: 0.001"
    assert got[SGD, scaled] == pytest.approx(0.0125)
    assert got[ADAMW, scaled] == 1e-3
    ultralytics = "0.01; AdamW: 0.01 / (4 + classes) (ultralytics)"
    assert got[SGD, ultralytics] == 0.01
    assert got[ADAMW, ultralytics] == pytest.approx(0.01 / 14)


def test_the_mean_of_the_other_tasks_leaves_the_task_and_other_optimizers_out(
    module: Module, judged: Callable[..., Any]
) -> None:
    tasks = [judged(SGD, 5.0), judged("mnist-2000-resnet8-128", 0.1), judged("mnist-2000-resnet9-128", 0.4)]
    got = max_lrs(module("ways").constants([*tasks, judged(ADAMW, 0.01)]))
    # By hand: the root of 0.1 x 0.4; AdamW has no other task.
    assert got[SGD, "mean of the best of the other tasks"] == pytest.approx(0.2)
    assert (ADAMW, "mean of the best of the other tasks") not in got


def test_each_library_reads_the_test_over_its_own_range(module: Module, judged: Callable[..., Any]) -> None:
    task = judged()
    low = {("Lightning", 100): task.tests["Lightning", 100].__class__(np.geomspace(1e-8, 1e-2, 100), [2.0] * 100)}
    answers = [a for a in module("ways").libraries([judged(tests=low)]) if a.seed == 100]
    assert {answer.cost for answer in answers} == {2.0}
    assert len(answers) == 8
    for answer in answers:
        if "Lightning" in answer.way and answer.max_lr is not None:
            assert answer.max_lr <= 1e-2


def test_a_loop_of_a_library_costs_its_steps_and_may_refuse(module: Module, judged: Callable[..., Any]) -> None:
    rows = pd.DataFrame(
        {"task": [SGD, SGD, "other"], "seed": 100, "library": "fastai", "rule": ["valley", "slide", "x"]}
    )
    rows = rows.assign(max_lr=[0.02, np.nan, 1.0], steps=[100, 25, 100])
    first, second = module("ways").own_loops([judged()], rows)
    assert (first.way, first.max_lr, first.cost) == ("fastai `valley`, its own loop", 0.02, 2.0)
    assert (second.max_lr, second.cost) == (None, 0.5)


def test_an_optimizer_without_a_lr_may_beat_the_best_cycle(module: Module, judged: Callable[..., Any]) -> None:
    rows = pd.DataFrame({"task": SGD, "seed": [0, 1], "optimizer": "Prodigy", "valid_accuracy": [0.92, 0.5]})
    better, worse = module("ways").without_lr([judged()], rows)
    assert better.regret == pytest.approx(-0.02)
    assert worse.regret == pytest.approx(0.4)
    assert better.max_lr is None


def test_simple_rules_cost_what_our_test_costs(module: Module, judged: Callable[..., Any]) -> None:
    answers = list(module("ways").simple([judged()]))
    assert [answer.way for answer in answers] == ["onset / 10", "least loss / 10"] * 2
    assert all(answer.cost == 2 for answer in answers)
    assert all(answer.max_lr < 0.3 for answer in answers)
