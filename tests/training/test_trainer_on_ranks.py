"""The training step of several ranks, against that of one process."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
import torch
from torch import nn

from onecycle_cli.data.augmentation import Augmentation
from onecycle_cli.data.batches import FixedBatches, Normalization, Share, TrainBatches
from onecycle_cli.data.mixing import Mixing
from onecycle_cli.data.transforms import Transforms
from onecycle_cli.schedules import LrMomentum
from onecycle_cli.training.hardware import Hardware
from onecycle_cli.training.joining import joined
from onecycle_cli.training.optimizers import build_optimizer
from onecycle_cli.training.ranks import ALONE, Ranks
from onecycle_cli.training.trainer import Trainer

CPU = Hardware(torch.device("cpu"), "float32")
NORMALIZATION = Normalization.of((0.5,) * 3, (0.25,) * 3, torch.device("cpu"))
SETTINGS = {"weight_decay": 1e-4, "decay_norm_and_bias": True, "nesterov": False}
SETTINGS |= {"beta2": 0.999, "eps": 1e-8, "max_grad_norm": 5.0}
IMAGES, BATCH_SIZE, STEPS = 67, 16, 12
"""The last batch of an epoch has three images, which several ranks do not divide."""

OnRanks = Callable[..., list[Any]]


def network(dropout: float = 0.0) -> nn.Module:
    torch.manual_seed(0)
    first = (nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(dropout))
    return nn.Sequential(
        *first, nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)
    )


def trainer(
    ranks: Ranks, *, accumulate: int = 1, mixed: bool = False, weighted: bool = False, sync: bool = True, **more: Any
) -> tuple[Trainer, FixedBatches]:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (IMAGES, 8, 8, 3), dtype=torch.uint8, generator=generator)
    labels = torch.randint(0, 4, (IMAGES,), generator=generator)
    transforms = Transforms(mixing=Mixing(0.5, 1.0)) if mixed else Transforms()
    augmentation = Augmentation(horizontal_flip=True, random_crop=True, padding=1)
    share = Share(ranks.rank, ranks.count)
    source = TrainBatches(pixels, labels, NORMALIZATION, augmentation, BATCH_SIZE, False, 1, transforms, share=share)
    net = network(**more)
    how: dict[str, Any] = {"class_weights": torch.tensor([1.0, 2, 3, 9]) if weighted else None, "report": pytest.fail}
    how |= {"accumulate": accumulate, "ranks": ranks, "sync_batch_norm": sync, "hardware": CPU, "label_smoothing": 0.1}
    optimizer = build_optimizer(net, SimpleNamespace(name="sgd", **SETTINGS))
    return Trainer(net, optimizer, source, **how), FixedBatches(pixels, labels, NORMALIZATION, BATCH_SIZE)


def trained(ranks: Ranks, **how: Any) -> tuple[list[tuple[Any, ...]], tuple[Any, ...], dict[str, Any]]:
    """Loss, weight, correct answers and images of each step; the score; the weights."""
    one, scored = trainer(ranks, **how)
    steps = islice(one.steps(lambda _: LrMomentum(0.02, 0.9)), STEPS)
    rows = [(step.loss.item(), step.weight.item(), step.correct.item(), step.images) for step in steps]
    score = one.evaluate(scored)
    weights = {name: tensor.numpy() for name, tensor in one.model.state_dict().items()}
    return rows, (score.loss, score.answers, score.top5_accuracy), weights


WAYS: dict[str, dict[str, Any]] = {
    "plain": {},
    "micro-batches": {"accumulate": 2},
    "mixed images": {"mixed": True},
    "all at once": {"accumulate": 2, "mixed": True, "weighted": True},
}


@pytest.mark.parametrize(("way", "count"), [*((way, 2) for way in WAYS), ("all at once", 3)])
def test_ranks_with_synchronized_batch_norm_train_as_one_process(way: str, count: int, on_ranks: OnRanks) -> None:
    rows, (loss, answers, _), weights = trained(ALONE, **WAYS[way])
    for got, (got_loss, got_answers, _), got_weights in on_ranks(count, lambda: _joined(WAYS[way])):
        assert [row[0] for row in got] == pytest.approx([row[0] for row in rows], abs=1e-5)
        assert [row[1] for row in got] == pytest.approx([row[1] for row in rows])
        assert [row[2:] for row in got] == [row[2:] for row in rows]
        # The running variance of the small last batch counts its images once for each rank.
        assert got_loss == pytest.approx(loss, abs=0.02)
        assert sum(got_answers.correct) == pytest.approx(sum(answers.correct), abs=3)
        for name, tensor in weights.items():
            if "running_var" not in name:
                assert got_weights[name] == pytest.approx(tensor, abs=1e-4), name


def _joined(how: dict[str, Any]) -> Any:
    with joined() as ranks:
        return trained(ranks, **how)


def test_every_rank_has_the_same_bits(on_ranks: OnRanks) -> None:
    first, second = on_ranks(2, lambda: _joined({"sync": False, "dropout": 0.3}))
    assert first[:2] == second[:2]
    for name, tensor in first[2].items():
        assert (second[2][name] == tensor).all(), name


def test_without_synchronization_batch_norm_uses_the_own_images(on_ranks: OnRanks) -> None:
    whole = [row[0] for row in trained(ALONE)[0]]
    apart = [row[0] for row in on_ranks(2, lambda: _joined({"sync": False}))[0][0]]
    assert apart[0] != pytest.approx(whole[0], abs=1e-4)
    assert apart[0] == pytest.approx(whole[0], abs=0.2)


def test_ranks_that_go_on_have_the_bits_of_those_that_were_not_stopped(on_ranks: OnRanks) -> None:
    def stopped_and_not() -> Any:
        with joined() as ranks:
            one, _ = trainer(ranks, sync=False, dropout=0.3)
            list(islice(one.steps(lambda _: LrMomentum(0.02, 0.9)), 5))
            state = ranks.from_first(lambda: {name: tensor.clone() for name, tensor in one.state().items()})
            list(islice(one.steps(lambda _: LrMomentum(0.02, 0.9), first_step=5), 5))
            other, _ = trainer(ranks, sync=False, dropout=0.3)
            other.restore(state)
            list(islice(other.steps(lambda _: LrMomentum(0.02, 0.9), first_step=5), 5))
            state, again = one.state(), other.state()
            # The statistics of the first rank are those of the run.
            return [name for name, tensor in state.items() if ranks.first and not torch.equal(tensor, again[name])]

    assert on_ranks(3, stopped_and_not) == [[], [], []]


def test_a_training_starts_from_the_weights_of_the_first_rank(on_ranks: OnRanks) -> None:
    """A function of the user may draw its weights from anywhere."""

    def started() -> Any:
        with joined() as ranks:
            one, _ = trainer(ranks)
            drawn = {name: tensor + ranks.rank for name, tensor in network().state_dict().items()}
            one.reset(drawn, 1e-4, one.batches)
            return {name: tensor.numpy() for name, tensor in one.model.state_dict().items()}

    expected = {name: tensor.numpy() for name, tensor in network().state_dict().items()}
    for weights in on_ranks(2, started):
        assert all((weights[name] == tensor).all() for name, tensor in expected.items())


def test_few_images_are_scored_by_every_rank(on_ranks: OnRanks) -> None:
    def score() -> Any:
        with joined() as ranks:
            one, scored = trainer(ranks)
            few = dataclasses.replace(scored, images=scored.images[:3], labels=scored.labels[:3])
            return sum(one.evaluate(few).answers.images), sum(one.evaluate(scored).answers.images)

    assert on_ranks(2, score) == [(3, IMAGES)] * 2


def test_the_parts_of_a_step_are_timed_on_ranks_too(on_ranks: OnRanks) -> None:
    def timed() -> Any:
        with joined() as ranks:
            return sorted(trainer(ranks)[0].parts_of_a_step(2))

    assert on_ranks(2, timed) == [["backward", "data", "forward", "other", "update"]] * 2


@pytest.mark.gpu
def test_two_gpus_train_as_one_does(tmp_path: Path) -> None:
    """A group of NCCL. It needs two GPUs."""
    if torch.cuda.device_count() < 2:
        pytest.skip("one CUDA device")
    words = ["train", "digits", "--epochs", "2", "--max-lr", "0.002", "--device", "cuda"]
    words += [
        "--set",
        "runtime.precision=float32",
        "--set",
        "runtime.sync_batch_norm=true",
        "--runs-dir",
        str(tmp_path),
    ]
    for count in (1, 2):
        command = [sys.executable, "-m", "onecycle_cli", *words, "--processes", str(count), "--name", str(count)]
        subprocess.run(command, check=True)
    one, two = (pd.read_csv(tmp_path / name / "steps.csv").train_loss.tolist() for name in "12")
    assert two == pytest.approx(one, abs=1e-3)
