from collections.abc import Callable
from types import ModuleType

import pandas as pd

Module = Callable[[str], ModuleType]
NAME = "mnist-2000-resnet8-128-adamw-long"


def test_a_task_is_judged_once_its_truth_is_whole(module: Module) -> None:
    answers = module("answers")
    grid = module("tasks").TASKS[NAME].grid
    runs = pd.DataFrame({"task": NAME, "max_lr": [*grid] * 3, "steps": 300, "valid_accuracy": 0.9})
    curves = pd.DataFrame({"task": NAME, "range": "recipe", "seed": [100, 100, 101], "lr": 0.1, "train_loss": 2.0})
    (judged,) = answers.judged_tasks(runs, curves)
    assert (judged.name, judged.steps, judged.batch_size) == (NAME, 300, 128)
    assert [(seed, len(curve.lrs)) for seed, curve in judged.tests_over("recipe")] == [(100, 2), (101, 1)]
    assert list(judged.tests_over("fastai")) == []
    assert answers.judged_tasks(runs.iloc[1:], curves) == []


def test_a_rule_is_told_the_optimizer_and_the_length_of_the_run(module: Module) -> None:
    plan = module("answers").plan_of(module("tasks").TASKS[NAME], 300)
    assert (plan.optimizer, plan.total_steps) == ("adamw", 300)
