"""That the same recipe gives the same bits each time, and what the seed changes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

from onecycle_cli.experiments.prepared_recipe import PreparedRecipe, fresh, is_same_network, prepare
from onecycle_cli.experiments.session import Session
from onecycle_cli.experiments.training import train
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.schedules import LrMomentum
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")
Tiny = Callable[..., Recipe]


def results(run: Path) -> list[bytes | str]:
    """Everything that a training computes; it also tells how long it took."""
    epochs = pd.read_csv(run / "epochs.csv", dtype=str).drop(columns=["seconds", "images_per_second"])
    return [(run / name).read_bytes() for name in ("model.safetensors", "steps.csv")] + [epochs.to_csv()]


@pytest.fixture
def new_run(tmp_path: Path, tiny: Tiny) -> Callable[[], RunDir]:
    def make() -> RunDir:
        text = to_yaml(tiny())
        return RunDir.create(tmp_path, command="train", recipe_name="digits", recipe_yaml=text, facts={}, name=None)

    return make


@pytest.fixture
def prepare_with(new_run: Callable, tiny: Tiny) -> Callable[..., PreparedRecipe]:
    return lambda values=None: prepare(tiny(values), Session(new_run(), CPU, silent))


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("values", [{}, {"model.dropout": 0.3, "optimizer.name": "adamw", "schedule.max_lr": 0.01}])
def test_two_trainings_of_a_recipe_on_a_cpu_give_the_same_bits(
    new_run: Callable, tiny: Tiny, values: dict[str, Any]
) -> None:
    runs = [new_run(), new_run()]
    for run in runs:
        train(tiny(values), Session(run, CPU, silent))
        torch.manual_seed(99)
        torch.rand(7)
    assert results(runs[0].path) == results(runs[1].path)


def test_a_training_is_the_same_after_other_commands_in_the_same_process(
    onecycle: Callable, tiny_digits: list[str]
) -> None:
    dropout = ("--set", "model.dropout=0.3")
    onecycle("train", *tiny_digits, *dropout, "--name", "first")
    onecycle("find-lr", *tiny_digits)
    sweep = ("--param", "optimizer.weight_decay=1e-2,1e-3", "--seeds", 1)
    assert onecycle("sweep", *tiny_digits, "--set", "schedule.epochs=1", *sweep).exit_code == 0
    assert onecycle("evaluate", "first").exit_code == 0
    onecycle("train", *tiny_digits, *dropout, "--name", "second")
    assert results(Path("runs/first")) == results(Path("runs/second"))


def test_another_seed_has_other_weights(prepare_with: Callable, tiny: Tiny) -> None:
    def weights(seed: int) -> Tensor:
        return fresh(tiny({"seed": seed}), prepared).model.state_dict()["head.weight"].clone()

    prepared = prepare_with()
    assert not torch.equal(weights(0), weights(1))
    assert torch.equal(weights(0), weights(0))


def test_another_seed_has_another_order_and_other_augmentation(prepare_with: Callable, tiny: Tiny) -> None:
    def first(seed: int) -> Any:
        return next(fresh(tiny({"seed": seed}), prepared).batches.drawn(0))

    prepared = prepare_with(
        {"data.horizontal_flip": True, "data.random_crop": True, "data.padding": 1, "augmentation": "light"}
    )
    for one, other, again in zip(first(0), first(1), first(0), strict=True):
        assert not torch.equal(one, other)
        assert torch.equal(one, again)


def test_another_seed_has_another_dropout(prepare_with: Callable, tiny: Tiny) -> None:
    def dropped(seed: int) -> Tensor:
        trainer = fresh(tiny(), prepared)
        trainer.batches = replace(trainer.batches, seed=seed)
        next(trainer.steps(lambda _: LrMomentum(0.0, 0.9)))
        return masks[-1]

    prepared, masks = prepare_with({"model.dropout": 0.5}), []
    (dropout,) = (module for module in prepared.trainer.model.modules() if isinstance(module, torch.nn.Dropout))
    dropout.register_forward_hook(lambda _, inputs, output: masks.append((output == 0) & (inputs[0] != 0)))
    assert torch.equal(dropped(0), dropped(0))
    # Of other images, too, whose features may be 0 here and there.
    assert 0.4 < (dropped(0) == dropped(1)).float().mean() < 0.6


def test_runs_that_differ_in_being_deterministic_share_no_graphs(tiny: Tiny) -> None:
    assert not is_same_network(tiny(), tiny({"runtime.deterministic": True}))


@pytest.mark.gpu
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_on_a_gpu_deterministic_trainings_give_the_same_bits_and_the_next_run_is_free(
    new_run: Callable, tiny: Tiny, precision: str
) -> None:
    cuda, runs = Hardware(torch.device("cuda"), precision), [new_run(), new_run(), new_run()]
    values = {"data.image_size": 32, "model.architecture": "resnet9", "model.width": 1, "model.dropout": 0.3}
    for run, asked in zip(runs, (True, True, False), strict=True):
        train(tiny(values | {"runtime.deterministic": asked}), Session(run, cuda, silent))
        assert torch.are_deterministic_algorithms_enabled() is asked
        assert torch.backends.cudnn.deterministic is asked
    assert results(runs[0].path) == results(runs[1].path)
