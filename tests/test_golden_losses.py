"""The losses of tiny trainings against those recorded in golden/losses.csv, which a plain loop of torch gives too.

A trace is twelve steps of the recipe's own training: every optimizer with every schedule in every precision. It sees
what the parts' own tests do not: that the schedule's momentum reaches the optimizer, a step too late, say.
"""

import math
import runpy
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import lr_scheduler as of_torch

from onecycle_cli.experiments.prepared_recipe import prepare
from onecycle_cli.experiments.session import Session, hardware_of
from onecycle_cli.experiments.trainers import initial_model
from onecycle_cli.models import NO_CODE, layer_groups
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, with_values
from onecycle_cli.recipe.fields import CHOICES, OptimizerSettings, RuntimeSettings
from onecycle_cli.run_dir.run import RunDir

golden = runpy.run_path(str(Path(__file__).parent / "golden" / "record_losses.py"))
CASES: list[Any] = golden["CASES"]
RECORDED: dict[Any, list[float]] = golden["recorded"]()
recipe_of, traces = golden["recipe_of"], golden["traces"]
STEPS = 12

TOLERANCES: dict[tuple[str, str], tuple[float, float]] = {
    ("cpu", "float32"): (2e-6, 1e-4),
    ("cpu", "bfloat16"): (2e-3, 3e-2),
    # Not measured yet.
    ("cuda", "float32"): (2e-3, 3e-2),
    ("cuda", "bfloat16"): (2e-3, 3e-2),
    ("mps", "float32"): (2e-3, 3e-2),
    ("mps", "bfloat16"): (2e-3, 3e-2),
}


def differences(losses: Sequence[float], expected: Sequence[float], tolerances: tuple[float, float]) -> list[int]:
    """The steps whose losses differ by more than the tolerance, which grows by the same factor from step to step."""
    first, last = tolerances
    allowed = [first * (last / first) ** (step / (STEPS - 1)) for step in range(STEPS)]
    pairs = zip(losses, expected, allowed, strict=True)
    return [step for step, (a, b, rel) in enumerate(pairs) if not math.isclose(a, b, rel_tol=rel)]


GROUPS = list(dict.fromkeys((case.optimizer, case.precision) for case in CASES))


def of_group(optimizer: str, precision: str, keep: Callable[[int], bool] = lambda _: True) -> list[Any]:
    """The traces of an optimizer in a precision."""
    own = [case for case in CASES if (case.optimizer, case.precision) == (optimizer, precision)]
    return [case for number, case in enumerate(own) if keep(number)]


def check(cases: Sequence[Any], device: str) -> None:
    found = list(traces(recipe_of(case, device) for case in cases))
    wrong = {}
    for case, losses in zip(cases, found, strict=True):
        if steps := differences(losses, RECORDED[case], TOLERANCES[device, case.precision]):
            wrong[case] = {step: (losses[step], RECORDED[case][step]) for step in steps}
    assert not wrong


@pytest.mark.parametrize(("optimizer", "precision"), GROUPS)
def test_the_losses_are_those_that_were_recorded(optimizer: str, precision: str) -> None:
    # The precision changes the forward pass alone, so in bfloat16 one schedule after another is enough.
    turn = list(golden["OPTIMIZERS"]).index(optimizer) if optimizer in golden["OPTIMIZERS"] else 0
    check(of_group(optimizer, precision, lambda n: precision == "float32" or n % 3 == turn), "cpu")


# ---------------------------------------------------------------------------------------------- a plain loop of torch


class Cycle(NamedTuple):
    """A stage of a training: its lrs and momentums, and the ratio of the lr of each parameter that it trains."""

    path: list[tuple[float, float]]
    ratios: dict[str, float]


def scheduled(make: Callable[[torch.optim.Optimizer], of_torch.LRScheduler]) -> list[tuple[float, float]]:
    """What a scheduler of torch gives an optimizer."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.95)
    schedule, path = make(optimizer), []
    for _ in range(STEPS):
        path.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]))
        optimizer.step()
        if len(path) < STEPS:
            schedule.step()
    return path


def interpolated(steps: int, turns: Sequence[float], lrs: Sequence[float], momentums: Sequence[float]) -> list:
    at = range(steps)
    return list(zip(np.interp(at, turns, lrs), np.interp(at, turns, momentums), strict=True))


def along_cosines(peak: float) -> list[tuple[float, float]]:
    """fastai's combined_cos: the share of the way, by half a cosine in each of the two phases."""
    up = 0.4 * STEPS
    path = []
    for step in range(STEPS):
        (a, b, c, d), where = ((0.1, 1, 0.95, 0.85), step / up) if step < up else (
            (1, 0.001, 0.85, 0.95), (step - up) / (STEPS - up))  # fmt: skip
        share = (1 - math.cos(math.pi * where)) / 2
        path.append((peak * (a + (b - a) * share), c + (d - c) * share))
    return path


def blog(steps: int, peak: float) -> list[tuple[float, float]]:
    leg = int(0.4 * steps)
    turns = (0, leg, 2 * leg, steps)
    return interpolated(steps, turns, [peak * share for share in (0.1, 1, 0.1, 0.001)], (0.95, 0.85, 0.95, 0.95))


def path_of(schedule: str, peak: float) -> list[tuple[float, float]]:
    """The lr and the momentum of each step, by torch's schedulers where it has one."""
    momentums = {"base_momentum": 0.85, "max_momentum": 0.95}
    one_cycle = {"max_lr": peak, "total_steps": STEPS, "pct_start": 0.4, "div_factor": 10, "final_div_factor": 100}
    cyclic = {"base_lr": peak / 10, "max_lr": peak, "step_size_up": 2, "gamma": 0.9} | momentums
    match schedule:
        case "blog":
            return blog(STEPS, peak)
        case "smith":
            lrs = [peak * share for share in (0.1, 1, 0.75, 0.5, 0.25, 0.001, 0.001)]
            return interpolated(STEPS, (0, 4, 5, 6, 7, 8, 12), lrs, (0.95, 0.85, 0.875, 0.9, 0.925, 0.95, 0.85))
        case "fastai":
            return along_cosines(peak)
        case "torch" | "torch linear" | "torch three phases":
            how = {"anneal_strategy": "linear" if "linear" in schedule else "cos", "three_phase": "three" in schedule}
            return scheduled(lambda optimizer: of_torch.OneCycleLR(optimizer, **(one_cycle | momentums | how)))
        case "triangular" | "triangular2" | "exp_range":
            return scheduled(lambda optimizer: of_torch.CyclicLR(optimizer, mode=schedule, **cyclic))
        case "multistep":
            return [(peak * 0.3 ** ((step >= 3) + (step >= 9)), 0.95) for step in range(STEPS)]
        case "cosine":
            falls = [(1 + math.cos(math.pi * step / STEPS)) / 2 for step in range(STEPS)]
            return [(peak * (0.01 + 0.99 * share), 0.95) for share in falls]
    assert schedule == "constant"
    return [(peak, 0.95)] * STEPS


def cycles_of(case: Any, peak: float, groups: Mapping[str, Sequence[str]]) -> Iterator[Cycle]:
    if case.schedule != golden["STAGES"]:
        yield Cycle(path_of(case.schedule, peak), {name: 1.0 for names in groups.values() for name in names})
        return
    yield Cycle(blog(3, peak), dict.fromkeys(groups["head"], 1.0))
    ratios = np.geomspace(0.2, 1, len(groups))
    by_name = {name: float(ratio) for names, ratio in zip(groups.values(), ratios, strict=True) for name in names}
    yield Cycle(blog(9, peak), by_name)


def optimizer_of(case: Any, settings: OptimizerSettings, net: nn.Module, ratios: Mapping[str, float]) -> Any:
    named = dict(net.named_parameters())
    decays = {name: settings.decay_norm_and_bias or named[name].ndim > 1 for name in ratios}
    wd = {True: settings.weight_decay, False: 0.0}
    parts = [{"params": [named[name]], "ratio": ratios[name], "weight_decay": wd[decays[name]]} for name in ratios]
    if settings.name == "sgd":
        return torch.optim.SGD(parts, lr=1.0, momentum=0.9, nesterov="nesterov" in case.optimizer)
    return torch.optim.AdamW(parts, lr=1.0, betas=(0.9, 0.9), eps=1e-8)


def gradient(net: nn.Module, images: Tensor, labels: Tensor, weights: Tensor, case: Any) -> float:
    """The gradient of a batch, in one part or three; returns its loss."""
    parts, smoothing = (3, 0.1) if "more" in case.optimizer else (1, 0.0)
    total = 0.0
    for x, y in zip(images.chunk(parts), labels.chunk(parts), strict=True):
        with torch.autocast("cpu", torch.bfloat16, enabled=case.precision == "bfloat16"):
            logits = net(x)
        losses = F.cross_entropy(logits.float(), y, label_smoothing=smoothing, reduction="none")
        loss = (losses * weights[y]).sum() / weights[labels].sum()
        loss.backward()
        total += loss.item()
    return total


def by_a_plain_loop(case: Any, run: RunDir) -> list[float]:
    recipe: Recipe = recipe_of(case)
    prepared = prepare(recipe, Session(run, hardware_of(recipe), silent))
    net = initial_model(recipe, prepared.data, None, NO_CODE).to(memory_format=torch.channels_last)
    batches = map(prepared.train.batch, prepared.train.drawn(0))
    counts = torch.bincount(prepared.train.labels)
    weights = counts.sum() / (10 * counts) if "more" in case.optimizer else torch.ones(10)
    losses = []
    for path, ratios in cycles_of(case, recipe.schedule.known_max_lr, layer_groups(net, 10)):
        net.train()
        for layer in net.modules():
            if not {f"{n}" for n, p in net.named_parameters() if any(p is q for q in layer.parameters())} & {*ratios}:
                layer.eval()
        optimizer = optimizer_of(case, recipe.optimizer, net, ratios)
        for (lr, momentum), batch in zip(path, islice(batches, len(path)), strict=True):
            for part in optimizer.param_groups:
                part["lr"] = lr * part["ratio"]
                part |= {"momentum": momentum} if "momentum" in part else {"betas": (momentum, 0.9)}
            net.zero_grad()
            losses.append(gradient(net, batch.images, batch.labels, weights, case))
            if "more" in case.optimizer:
                nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            optimizer.step()
    return losses


def test_x(tmp_path) -> None:
    for case in CASES:
        run = RunDir.create(tmp_path, command="train", recipe_name="x", recipe_yaml="", facts={}, name=None)
        found = by_a_plain_loop(case, run)
        print(case, max(abs(a / b - 1) for a, b in zip(found, RECORDED[case])), [f"{abs(a / b - 1):.0e}" for a, b in zip(found, RECORDED[case])])
