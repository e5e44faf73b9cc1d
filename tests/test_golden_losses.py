"""The losses of tiny trainings against those recorded in golden/losses.csv, which a plain loop of torch gives too.

A trace is twelve steps of the recipe's own training: every optimizer with every schedule in every precision. It sees
what the tests of the parts do not: that the momentum of a schedule reaches the optimizer in the step it is for, say.
"""

import math
import runpy
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args, get_origin

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import lr_scheduler as of_torch

from onecycle_cli.experiments.prepared_recipe import PreparedRecipe, prepare
from onecycle_cli.experiments.session import Session, hardware_of
from onecycle_cli.experiments.trainers import initial_model
from onecycle_cli.models import NO_CODE, layer_groups
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, with_values
from onecycle_cli.recipe.fields import CHOICES, OptimizerSettings, RuntimeSettings
from onecycle_cli.run_dir.run import RunDir

golden = runpy.run_path(str(Path(__file__).parent / "golden" / "record_losses.py"))
CASES, Case, recipe_of, traces = (golden[name] for name in ("CASES", "Case", "recipe_of", "traces"))
RECORDED: dict[Any, list[float]] = golden["recorded"]()
OPTIMIZERS = [*golden["OPTIMIZERS"], *golden["WITH_MORE"]]
STEPS = 12

TOLERANCES: dict[tuple[str, str], tuple[float, float]] = {
    ("cpu", "float32"): (2e-6, 2e-4),
    ("cpu", "bfloat16"): (5e-3, 8e-2),
    ("cuda", "float32"): (1e-5, 2e-3),
    ("cuda", "TF32"): (1e-3, 2e-2),
    ("cuda", "bfloat16"): (1e-2, 1e-1),
    ("mps", "float32"): (1e-5, 2e-3),
    ("mps", "bfloat16"): (1e-2, 1e-1),
}
"""The relative differences that a trace may have in its first and its last step; they grow by a factor between.

Measured for the CPU: the traces of an EPYC with AVX-512 BF16 against those of the same processor held to AVX-512
without BF16, to AVX2, to SSE, and to AVX2 in torch alone (torch 2.14). In float32, the largest differences were 2.5e-7
in steps 0 to 8 and 2.4e-5 in the last one; in bfloat16 1.3e-3 in step 2, 8e-3 in step 6, 1.2e-2 in the last. One
thread and two give the same bits, since so small a step uses one.
Not measured yet: AMX, ARM, and all of cuda and mps, whose tolerances are those of the CPU with room for other orders of
summation. TF32 rounds to an eighth of what bfloat16 does.
"""


def differing(losses: Sequence[float], expected: Sequence[float], tolerances: tuple[float, float]) -> list[int]:
    """The steps whose losses differ by more than the tolerance."""
    first, last = tolerances
    allowed = [first * (last / first) ** (step / (STEPS - 1)) for step in range(STEPS)]
    pairs = zip(losses, expected, allowed, strict=True)
    return [step for step, (loss, right, most) in enumerate(pairs) if not math.isclose(loss, right, rel_tol=most)]


def of(optimizer: str, precision: str) -> list[Any]:
    return [case for case in CASES if (case.optimizer, case.precision) == (optimizer, precision)]


def in_turn(optimizer: str, precision: str) -> list[Any]:
    """A third of the traces of an optimizer: together, those of all optimizers show all schedules."""
    own = of(optimizer, precision)
    turn = OPTIMIZERS.index(optimizer) + (precision == "bfloat16")
    return own if len(own) == 1 else own[turn % 3 :: 3]


def must_be_as_recorded(cases: Sequence[Any], device: str = "cpu", row: str | None = None) -> None:
    found = zip(cases, traces(recipe_of(case, device) for case in cases), strict=True)
    wrong = {
        f"{case.optimizer}, {case.schedule}, {case.precision}": {step: (losses[step], right[step]) for step in steps}
        for case, losses in found
        if (right := RECORDED[case]) and (steps := differing(losses, right, TOLERANCES[device, row or case.precision]))
    }
    assert not wrong


GROUPS = [(optimizer, precision) for precision in ("float32", "bfloat16") for optimizer in OPTIMIZERS]


@pytest.mark.parametrize(("optimizer", "precision"), GROUPS)
def test_some_losses_are_those_that_were_recorded(optimizer: str, precision: str) -> None:
    must_be_as_recorded(in_turn(optimizer, precision))


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "precision"), GROUPS)
def test_all_losses_are_those_that_were_recorded(optimizer: str, precision: str) -> None:
    must_be_as_recorded(of(optimizer, precision))


def test_all_schedules_come_in_turn() -> None:
    for precision in ("float32", "bfloat16"):
        seen = {case.schedule for optimizer in OPTIMIZERS for case in in_turn(optimizer, precision)}
        assert seen == {case.schedule for case in CASES}


@pytest.fixture
def without_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Matrix products and convolutions in float32, which a training on a GPU computes in TF32."""
    monkeypatch.setattr(torch, "set_float32_matmul_precision", lambda _: None)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.mark.gpu
@pytest.mark.usefixtures("without_tf32")
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_on_a_gpu_the_losses_are_those_that_were_recorded(optimizer: str) -> None:
    must_be_as_recorded(of(optimizer, "float32"), "cuda")


@pytest.mark.gpu
@pytest.mark.parametrize(("precision", "row"), [("float32", "TF32"), ("bfloat16", "bfloat16")])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_on_a_gpu_so_are_those_of_less_precise_products(optimizer: str, precision: str, row: str) -> None:
    must_be_as_recorded(of(optimizer, precision), "cuda", row)


@pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU")
def test_on_an_apple_gpu_the_losses_are_those_that_were_recorded() -> None:
    must_be_as_recorded(CASES, "mps")


def test_every_choice_of_a_recipe_has_a_trace() -> None:
    """A new policy, shape, mode or optimizer goes into the tables of golden/record_losses.py."""
    recipes = [recipe_of(case) for case in CASES]
    assert {*get_args(OptimizerSettings.model_fields["name"].annotation)} == {one.optimizer.name for one in recipes}
    precisions = {*get_args(RuntimeSettings.model_fields["precision"].annotation)} - {"auto"}
    assert precisions == {one.runtime.precision for one in recipes}
    for variant in CHOICES["schedule"].variants:
        own = [one.schedule for one in recipes if type(one.schedule) is variant]
        for name, field in variant.model_fields.items():
            if get_origin(field.annotation) is Literal:
                assert {*get_args(field.annotation)} == {getattr(one, name) for one in own}, name


NEAR = [
    ("sgd", {"schedule.max_momentum": 0.9}),
    ("sgd", {"schedule.base_momentum": 0.9}),
    ("sgd", {"schedule.pct_start": 0.5}),
    ("sgd", {"schedule.div_factor": 8.0}),
    ("sgd", {"optimizer.weight_decay": 0.025}),
    ("adamw", {"schedule.max_momentum": 0.9}),
    ("adamw", {"optimizer.weight_decay": 0.5}),
    ("adamw", {"optimizer.beta2": 0.95}),
]
"""Settings beside those of a trace."""


def test_the_tolerances_in_float32_tell_settings_apart_that_are_near() -> None:
    changed = (with_values(recipe_of(Case(name, "blog", "float32")), values) for name, values in NEAR)
    for (name, values), losses in zip(NEAR, traces(changed), strict=True):
        for device in ("cpu", "cuda", "mps"):
            right = RECORDED[Case(name, "blog", "float32")]
            assert differing(losses, right, TOLERANCES[device, "float32"]), (device, values)


def test_those_of_less_precise_products_tell_optimizers_apart() -> None:
    far = {(one, other) for one in golden["OPTIMIZERS"] for other in golden["OPTIMIZERS"] if one != other}
    for row in ("bfloat16", "TF32"):
        for one, other in far:
            losses, right = (RECORDED[Case(name, "constant", "float32")] for name in (one, other))
            assert differing(losses, right, TOLERANCES["cuda", row]), (row, one, other)


# A plain loop of torch, with torch's optimizers and schedulers.


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
        ends, where = (0.1, 1.0, 0.95, 0.85), step / up
        if step >= up:
            ends, where = (1.0, 0.001, 0.85, 0.95), (step - up) / (STEPS - up)
        a, b, c, d = ends
        share = (1 - math.cos(math.pi * where)) / 2
        path.append((peak * (a + (b - a) * share), c + (d - c) * share))
    return path


def blog(steps: int, peak: float) -> list[tuple[float, float]]:
    leg = int(0.4 * steps)
    turns = (0, leg, 2 * leg, steps)
    return interpolated(steps, turns, [peak * share for share in (0.1, 1, 0.1, 0.001)], (0.95, 0.85, 0.95, 0.95))


def path_of(schedule: str, peak: float) -> list[tuple[float, float]]:
    """The lr and the momentum of each step, by torch's schedulers where it has one."""
    momentums: dict[str, Any] = {"base_momentum": 0.85, "max_momentum": 0.95}
    one_cycle: dict[str, Any] = {
        "max_lr": peak,
        "total_steps": STEPS,
        "pct_start": 0.4,
        "div_factor": 10,
        "final_div_factor": 100,
    }
    cyclic: dict[str, Any] = {"base_lr": peak / 10, "max_lr": peak, "step_size_up": 2, "gamma": 0.9} | momentums
    match schedule:
        case "blog":
            return blog(STEPS, peak)
        case "smith":
            lrs = [peak * share for share in (0.1, 1, 0.75, 0.5, 0.25, 0.001, 0.001)]
            return interpolated(STEPS, (0, 4, 5, 6, 7, 8, 12), lrs, (0.95, 0.85, 0.875, 0.9, 0.925, 0.95, 0.85))
        case "fastai":
            return along_cosines(peak)
        case "torch" | "torch linear" | "torch three phases":
            how: dict[str, Any] = {
                "anneal_strategy": "linear" if "linear" in schedule else "cos",
                "three_phase": "three" in schedule,
            }
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


def optimizer_of(settings: OptimizerSettings, net: nn.Module, ratios: Mapping[str, float]) -> Any:
    named = dict(net.named_parameters())
    decays = {name: settings.decay_norm_and_bias or named[name].ndim > 1 for name in ratios}
    wd = {True: settings.weight_decay, False: 0.0}
    parts = [{"params": [named[name]], "ratio": ratios[name], "weight_decay": wd[decays[name]]} for name in ratios]
    if settings.name == "sgd":
        return torch.optim.SGD(parts, lr=1.0, momentum=0.9, nesterov=settings.nesterov)
    return torch.optim.AdamW(parts, lr=1.0, betas=(0.9, 0.9), eps=1e-8)


def gradient(net: nn.Module, images: Tensor, labels: Tensor, weights: Tensor, parts: int, smoothing: float) -> float:
    """The gradient of a batch that is computed in parts; returns its loss."""
    total = 0.0
    for x, y in zip(images.chunk(parts), labels.chunk(parts), strict=True):
        losses = F.cross_entropy(net(x), y, label_smoothing=smoothing, reduction="none")
        loss = (losses * weights[y]).sum() / weights[labels].sum()
        loss.backward()
        total += loss.item()
    return total


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> PreparedRecipe:
    """The images, whose order and crops are those of the recipe's seed."""
    recipe: Recipe = recipe_of(CASES[0])
    folder = tmp_path_factory.mktemp("runs")
    run = RunDir.create(folder, command="train", recipe_name="digits", recipe_yaml="", facts={}, name=None)
    return prepare(recipe, Session(run, hardware_of(recipe), silent))


def by_a_plain_loop(case: Any, prepared: PreparedRecipe) -> list[float]:
    recipe: Recipe = recipe_of(case)
    net = initial_model(recipe, prepared.data, None, NO_CODE).to(memory_format=torch.channels_last)
    batches = map(prepared.train.batch, prepared.train.drawn(0))
    counts = torch.bincount(prepared.train.labels)
    settings, parts = recipe.optimizer, recipe.data.accumulate
    weights = counts.sum() / (10 * counts) if settings.class_weights == "balanced" else torch.ones(10)
    losses = []
    for path, ratios in cycles_of(case, recipe.schedule.known_max_lr, layer_groups(net, 10)):
        net.train()
        for prefix, layer in net.named_modules():
            own = {name for name, _ in layer.named_parameters(prefix)}
            if own and not own & ratios.keys():
                layer.eval()
        optimizer = optimizer_of(settings, net, ratios)
        for (lr, momentum), batch in zip(path, islice(batches, len(path)), strict=True):
            for part in optimizer.param_groups:
                part["lr"] = lr * part["ratio"]
                part |= {"momentum": momentum} if "momentum" in part else {"betas": (momentum, 0.9)}
            net.zero_grad()
            losses.append(gradient(net, batch.images, batch.labels, weights, parts, settings.label_smoothing))
            if settings.max_grad_norm is not None:
                nn.utils.clip_grad_norm_(net.parameters(), settings.max_grad_norm)
            optimizer.step()
    return losses


def must_be_those_of_a_plain_loop(cases: Sequence[Any], prepared: PreparedRecipe) -> None:
    for case in cases:
        losses = by_a_plain_loop(case, prepared)
        assert not differing(RECORDED[case], losses, TOLERANCES["cpu", "float32"]), (case, losses)


@pytest.mark.slow  # only a new losses.csv can change it
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_the_recorded_losses_are_those_of_a_plain_loop(optimizer: str, prepared: PreparedRecipe) -> None:
    for case in of(optimizer, "float32"):
        losses = by_a_plain_loop(case, prepared)
        assert not differing(RECORDED[case], losses, TOLERANCES["cpu", "float32"]), (case, losses)
