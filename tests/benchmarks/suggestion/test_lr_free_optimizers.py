from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from onecycle_cli.experiments.prepared_recipe import fresh
from onecycle_cli.schedules import LrMomentum

TINY: dict[str, Any] = {"schedule.epochs": 1, "data.batch_size": 128, "model.width": 0.25}
TINY |= {"optimizer.weight_decay": 0.01, "runtime.precision": "float32"}


@pytest.fixture
def script(module: Callable[[str], ModuleType]) -> ModuleType:
    return module("lr_free_optimizers")


@pytest.fixture
def prepared(
    module: Callable[[str], ModuleType], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Callable[..., Any]]:
    """A tiny task, prepared with one seed."""
    measure, tasks = module("measure"), module("tasks")
    opened = []

    def prepare(**changes: Any) -> Any:
        values = {name.replace("__", "."): value for name, value in changes.items()}
        monkeypatch.setitem(tasks.TASKS, "tiny", tasks.Task("digits", TINY | values))
        opened.append(measure.OneThread("tiny", tmp_path, 0))
        return opened[-1]

    yield prepare
    for task in opened:
        with closing(task):
            pass


def momentum_sgd(groups: list[dict[str, Any]], _: int) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=1.0, momentum=0.9)


def constant(step: int) -> LrMomentum:  # noqa: ARG001
    return LrMomentum(0.05, 0.9)


def losses(trainer: Any, steps: int) -> list[float]:
    return [float(step.loss) for step, _ in zip(trainer.steps(constant), range(steps), strict=False)]


@pytest.mark.parametrize("changes", [{}, {"optimizer__decay_norm_and_bias": False}, {"schedule__max_lr": [0.01, 0.05]}])
def test_sgd_of_torch_trains_as_our_own_does(
    script: ModuleType, prepared: Callable[..., Any], changes: dict[str, Any]
) -> None:
    task = prepared(**changes)
    trainer = fresh(task.recipe, task.prepared)
    assert (trainer.optimizer.lr_ratios is not None) == ("schedule__max_lr" in changes)
    expected = losses(trainer, 6)
    trainer = fresh(task.recipe, task.prepared)
    script.put_into(trainer, script.LrFree("torch", "sgd", "lr", momentum_sgd, script.constant(0.05)), 0.01, 6)
    assert losses(trainer, 6) == pytest.approx(expected, rel=1e-5)


def test_an_optimizer_with_one_lr_refuses_layers_with_different_lrs(
    script: ModuleType, prepared: Callable[..., Any]
) -> None:
    task = prepared(schedule__max_lr=[0.01, 0.05])
    with pytest.raises(ValueError, match="torch has one lr for all parameters"):
        script.put_into(
            fresh(task.recipe, task.prepared), script.LrFree("torch", "sgd", None, momentum_sgd, script.cosine), 0.0, 6
        )


def test_a_cosine_falls_from_one_to_zero(script: ModuleType) -> None:
    schedule = script.cosine(4)
    assert [schedule(step).lr for step in range(5)] == pytest.approx([1, 0.8536, 0.5, 0.1464, 0], abs=1e-4)


def test_groups_keep_what_does_not_decay_apart(script: ModuleType, prepared: Callable[..., Any]) -> None:
    task = prepared(optimizer__decay_norm_and_bias=False, schedule__max_lr=[0.01, 0.05])
    own = task.prepared.trainer.optimizer
    groups = script.groups_of(own, 0.01)
    kinds = {(group["weight_decay"], group["ratio"]) for group in groups}
    assert len(kinds) == len(groups)
    assert {decay for decay, _ in kinds} == {0.0, 0.01}
    # The layer groups between the first and the head have ratios between theirs.
    assert {ratio for _, ratio in kinds} == set(own.lr_ratios)
    assert (min(own.lr_ratios), max(own.lr_ratios)) == (0.2, 1.0)
    assert sum(len(group["params"]) for group in groups) == len(own.parameters)
    assert all(parameter.ndim > 1 for group in groups if group["weight_decay"] for parameter in group["params"])


def test_schedule_free_is_scored_at_its_average_with_new_statistics(
    script: ModuleType, prepared: Callable[..., Any]
) -> None:
    pytest.importorskip("schedulefree", reason="needs the extra benchmark")
    task = prepared()
    trainer = fresh(task.recipe, task.prepared)
    adapter = script.put_into(trainer, script.OPTIMIZERS["Schedule-Free SGD"], 0.0, 6)
    losses(trainer, 6)
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    script.ready_to_score(trainer, adapter, 6)
    for name, tensor in trainer.model.named_parameters():
        # A step keeps y = 0.9 x + 0.1 z; the score is that of x.
        z = adapter.optimizer.state[tensor]["z"]
        torch.testing.assert_close(0.9 * tensor + 0.1 * z, before[name], rtol=1e-4, atol=1e-6)
    counts = [(before[name], new) for name, new in trainer.model.state_dict().items() if "num_batches" in name]
    assert counts
    assert all(int(new - old) == 50 for old, new in counts)


@pytest.mark.parametrize(
    ("name", "package"),
    [
        ("Prodigy", "prodigyopt"),
        ("D-Adaptation Adam", "dadaptation"),
        ("Schedule-Free SGD", "schedulefree"),
        ("Schedule-Free AdamW", "schedulefree"),
    ],
)
def test_an_optimizer_without_an_lr_learns(
    script: ModuleType, prepared: Callable[..., Any], name: str, package: str
) -> None:
    pytest.importorskip(package, reason="needs the extra benchmark")
    task = prepared(schedule__epochs=8)
    trainer = fresh(task.recipe, task.prepared)
    rival = script.OPTIMIZERS[name]
    script.put_into(trainer, rival, 0.01, task.steps)
    # D-Adaptation needs most of these steps to find an lr.
    result = task.run(trainer, rival.schedule(task.steps), task.steps)
    assert result["steps"] == task.steps
    assert result["train_loss"] < 2.2
