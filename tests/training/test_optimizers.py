"""The optimizers against torch's own, update by update."""

import copy
import subprocess
import sys
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from onecycle_cli.recipe import load, shipped_path
from onecycle_cli.training.optimizers import Optimizer, OptimizerSpec, Sgd, build_optimizer

SETTINGS: dict[str, Any] = {"weight_decay": 1e-2, "decay_norm_and_bias": True, "max_grad_norm": None, "nesterov": False}
SETTINGS |= {"beta2": 0.99, "eps": 1e-6}
PATH = [(0.001, 0.95), (0.003, 0.9), (0.005, 0.85), (0.002, 0.9), (0.0001, 0.95)]


def network() -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(16, 3))
    return net.to(memory_format=torch.channels_last)


def built(net: nn.Module, name: str, **options: Any) -> Optimizer:
    ratios = options.pop("lr_ratios", None)
    return build_optimizer(net, SimpleNamespace(name=name, **(SETTINGS | options)), lr_ratios=ratios)


def torch_adamw(p: Iterable[Tensor]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(p, lr=1, betas=(0.9, 0.99), eps=1e-6, weight_decay=1e-2)


@pytest.mark.parametrize(
    ("name", "options", "oracle"),
    [
        ("sgd", {}, lambda p: torch.optim.SGD(p, lr=1, momentum=0.9, weight_decay=1e-2)),
        ("sgd", {"nesterov": True}, lambda p: torch.optim.SGD(p, lr=1, momentum=0.9, weight_decay=1e-2, nesterov=True)),
        ("adamw", {}, torch_adamw),
    ],
)
def test_each_update_is_that_of_torch_while_lr_and_momentum_move(name: str, options: dict, oracle: Any) -> None:
    ours, theirs = network(), network()
    optimizer, expected = built(ours, name, **options), oracle(theirs.parameters())
    for lr, momentum in PATH:
        optimizer.set(lr, momentum)
        for group in expected.param_groups:
            group["lr"] = lr
            if name == "sgd":
                group["momentum"] = momentum
            else:
                group["betas"] = (momentum, 0.99)
        x = torch.randn(8, 2, 4, 4)
        for net, update in ((ours, optimizer), (theirs, expected)):
            net(x).square().mean().backward()
            update.step()
            net.zero_grad()
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sgd", {}),
        ("sgd", {"nesterov": True}),
        ("sgd", {"decay_norm_and_bias": False}),
        ("adamw", {}),
        ("adamw", {"decay_norm_and_bias": False}),
    ],
)
def test_parameters_with_an_lr_of_their_own_are_updated_as_torch_does_with_groups(name: str, options: dict) -> None:
    ours, theirs = network(), network()
    ratios = [0.01, 0.1, 0.1, 1.0, 1.0]
    lr_ratios = dict(zip(dict(ours.named_parameters()), ratios, strict=True))
    # Strong decay, so that one by another lr would show.
    optimizer = built(ours, name, weight_decay=0.5, lr_ratios=lr_ratios, **options)
    spared = not options.get("decay_norm_and_bias", True)
    groups = [
        {"params": [parameter], "ratio": ratio, "weight_decay": 0.0 if spared and parameter.ndim == 1 else 0.5}
        for parameter, ratio in zip(theirs.parameters(), ratios, strict=True)
    ]
    expected: torch.optim.Optimizer
    if name == "sgd":
        expected = torch.optim.SGD(groups, lr=1, momentum=0.9, nesterov=options.get("nesterov", False))
    else:
        expected = torch.optim.AdamW(groups, lr=1, eps=1e-6)
    for lr, momentum in PATH:
        optimizer.set(10 * lr, momentum)
        for group in expected.param_groups:
            group["lr"] = 10 * lr * group["ratio"]
            if name == "sgd":
                group["momentum"] = momentum
            else:
                group["betas"] = (momentum, 0.99)
        x = torch.randn(8, 2, 4, 4)
        for net, update in ((ours, optimizer), (theirs, expected)):
            net(x).square().mean().backward()
            update.step()
            net.zero_grad()
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("max_norm", [1e-3, 0.5, 1e3], ids=["tight", "some", "loose"])
def test_clipped_updates_are_those_after_clip_grad_norm(name: str, max_norm: float) -> None:
    ours, theirs = network(), network()
    # A frozen part has no share in the norm, and the lr ratios do not change it.
    trained = {key: 0.1 if key == "0.weight" else 1.0 for key, _ in ours.named_parameters() if key[0] != "1"}
    plain, clipped = (
        built(net, name, lr_ratios=trained, max_grad_norm=limit) for net, limit in ((theirs, None), (ours, max_norm))
    )
    norms = []
    for lr, momentum in PATH:
        x = torch.randn(8, 2, 4, 4)
        for net, optimizer in ((ours, clipped), (theirs, plain)):
            net.zero_grad()
            optimizer.set(lr, momentum)
            net(x).square().mean().backward()
        norms.append(float(nn.utils.clip_grad_norm_(plain.parameters, max_norm)))
        clipped.step()
        plain.step()
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-7)
    assert min(norms) < 1e3
    assert min(norms) > 1e-3


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_parameters_without_a_gradient_are_skipped_as_torch_does(name: str, nesterov: bool) -> None:
    ours, theirs = (nn.ModuleList([nn.Linear(4, 4), network(), nn.Linear(4, 4)]) for _ in range(2))
    unused = ours.get_parameter("0.weight"), theirs.get_parameter("0.weight")
    theirs.load_state_dict(ours.state_dict())
    ratios = {key: 0.5 if key.endswith("bias") else 1.0 for key, _ in ours.named_parameters()}
    optimizer = built(ours, name, nesterov=nesterov, weight_decay=0.5, lr_ratios=ratios, max_grad_norm=10.0)
    groups = [{"params": [one], "ratio": ratios[key]} for key, one in theirs.named_parameters()]
    expected: torch.optim.Optimizer
    if name == "sgd":
        expected = torch.optim.SGD(groups, lr=1, momentum=0.9, weight_decay=0.5, nesterov=nesterov)
    else:
        expected = torch.optim.AdamW(groups, lr=1, betas=(0.9, 0.99), eps=1e-6, weight_decay=0.5)
    for _ in range(4):
        optimizer.set(0.01, 0.9)
        for group in expected.param_groups:
            group["lr"] = 0.01 * group["ratio"]
        x = torch.randn(8, 2, 4, 4)
        for nets in (ours, theirs):
            nets.zero_grad()
            nets[1](x).square().mean().backward()
        nn.utils.clip_grad_norm_(theirs.parameters(), 10.0)
        optimizer.step()
        expected.step()
    assert torch.equal(*unused)
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_what_the_network_itself_excludes_is_not_trained(name: str) -> None:
    net = network()
    excluded = net.get_parameter("4.weight").requires_grad_(False)
    before = excluded.clone()
    optimizer = built(net, name)
    assert len(optimizer.parameters) == 4
    optimizer.set(0.1, 0.9)
    net(torch.randn(8, 2, 4, 4)).square().mean().backward()
    optimizer.step()
    assert torch.equal(excluded, before)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_equal_ratios_are_none_and_give_the_same_bits(name: str) -> None:
    nets = network(), network()
    ones = dict.fromkeys(dict(nets[1].named_parameters()), 1.0)
    optimizers = built(nets[0], name), built(nets[1], name, lr_ratios=ones)
    assert optimizers[1].lr_ratios is None
    x = torch.randn(8, 2, 4, 4)
    for net, optimizer in zip(nets, optimizers, strict=True):
        optimizer.set(0.1, 0.9)
        net(x).square().mean().backward()
        optimizer.step()
    assert all(torch.equal(one, other) for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True))


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_what_it_does_not_train_stays_as_it_is_and_does_not_decay(name: str) -> None:
    net = network()
    before = copy.deepcopy(net)
    optimizer = built(net, name, weight_decay=0.5, lr_ratios={"4.weight": 1.0, "4.bias": 0.5})
    optimizer.set(0.1, 0.9)
    net(torch.randn(8, 2, 4, 4)).square().mean().backward()
    optimizer.step()
    stayed = [torch.equal(mine, old) for mine, old in zip(net.parameters(), before.parameters(), strict=True)]
    assert stayed == [True, True, True, False, False]


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_without_decay_of_norm_and_bias_only_weights_decay(name: str) -> None:
    net = network()
    before = copy.deepcopy(net)
    optimizer = built(net, name, decay_norm_and_bias=False)
    optimizer.set(0.1, 0.9)
    for parameter in net.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for mine, old in zip(net.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(mine, old * (1 - 0.1 * 1e-2) if mine.ndim > 1 else old)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_reset_optimizer_has_forgotten_its_updates(name: str) -> None:
    net, x = network(), torch.randn(8, 2, 4, 4)
    initial = copy.deepcopy(net.state_dict())
    optimizer = built(net, name)

    def updated() -> list[torch.Tensor]:
        net.load_state_dict(initial)
        optimizer.reset(1e-2)
        for lr, momentum in PATH:
            net.zero_grad()
            optimizer.set(lr, momentum)
            net(x).square().mean().backward()
            optimizer.step()
        return [parameter.detach().clone() for parameter in net.parameters()]

    assert all(torch.equal(one, other) for one, other in zip(updated(), updated(), strict=True))


def test_the_optimizer_section_of_a_recipe_is_what_an_optimizer_is_built_from() -> None:
    settings: OptimizerSpec = load(shipped_path("digits")).optimizer  # mypy holds the section to it
    optimizer = build_optimizer(network(), settings)
    assert isinstance(optimizer, Sgd)
    assert optimizer.weight_decay.item() == pytest.approx(1e-4)


def test_no_part_of_the_compiler_is_imported() -> None:
    """torch._dynamo takes 1 to 2 s of each start, sympy with torch's device `meta` another 1.4 s."""
    program = f"""
import sys, torch, onecycle_cli.experiments.training
from types import SimpleNamespace
from onecycle_cli.training.optimizers import build_optimizer
from onecycle_cli.training.multiply_adds import multiply_adds
net = torch.nn.Linear(2, 2)
multiply_adds(net, torch.ones(1, 2))
optimizer = build_optimizer(net, SimpleNamespace(name="sgd", **{SETTINGS}))
net(torch.ones(1, 2)).sum().backward()
optimizer.step()
sys.exit(bool({{"torch._dynamo", "sympy"}} & {{*sys.modules}}))
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
