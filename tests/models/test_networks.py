"""The networks: their size to the last parameter, what they take, and how they start."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from onecycle_cli.models import network_from
from onecycle_cli.models.networks import norm_layer, shortcut
from onecycle_cli.models.sources.onecycle import CIFAR_BLOCKS

ARCHITECTURES = [*CIFAR_BLOCKS, "resnet18", "resnet9", "cnn"]


def model(architecture: str, **settings: Any) -> nn.Module:
    plain: dict[str, Any] = {"width": 1, "shortcut_kind": "B", "dropout": 0.0, "channels": 3, "classes": 10}
    return network_from({"architecture": architecture} | plain | settings, seed=0)


def parameters(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_the_parameters_of_resnet56_are_those_worked_out_by_hand() -> None:
    stem = 3 * 3 * 3 * 16 + 2 * 16
    first = 9 * (2 * 3 * 3 * 16 * 16 + 4 * 16)
    second = 3 * 3 * 16 * 32 + 17 * 3 * 3 * 32 * 32 + 9 * 4 * 32
    third = 3 * 3 * 32 * 64 + 17 * 3 * 3 * 64 * 64 + 9 * 4 * 64
    head = 64 * 10 + 10
    shortcuts = (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)
    assert parameters(model("resnet56", shortcut_kind="A")) == stem + first + second + third + head == 853_018
    assert parameters(model("resnet56")) == 853_018 + shortcuts == 855_770


@pytest.mark.parametrize(
    ("architecture", "count"),
    [
        # Depth 6n + 2, from n = 1: each further n adds two convolutions and norms to each stage, 97,216 parameters.
        ("resnet8", 78_042),
        ("resnet20", 78_042 + 2 * 97_216),
        ("resnet32", 78_042 + 4 * 97_216),
        ("resnet44", 78_042 + 6 * 97_216),
        ("resnet110", 78_042 + 17 * 97_216),
        # The usual 11.17 M of a ResNet-18 with a 3x3 stem for ten classes.
        ("resnet18", 11_173_962),
        # 3x3 convolutions 3-64-128, 2 x 128-128, 128-256, 256-512, 2 x 512-512, norms, a head without bias.
        ("resnet9", 9 * (3 * 64 + 64 * 128 + 2 * 128**2 + 128 * 256 + 256 * 512 + 2 * 512**2) + 2 * 2240 + 5120),
        # 3x3 convolutions 3-32-64-128, norms, a head.
        ("cnn", 9 * (3 * 32 + 32 * 64 + 64 * 128) + 2 * (32 + 64 + 128) + 128 * 10 + 10),
    ],
)
def test_parameter_counts(architecture: str, count: int) -> None:
    assert parameters(model(architecture)) == count


@pytest.mark.parametrize("architecture", ["resnet8", "resnet18", "resnet9", "cnn"])
@pytest.mark.parametrize(("size", "channels", "classes"), [(8, 1, 10), (28, 1, 3), (32, 3, 100), (50, 3, 2)])
def test_any_size_channels_and_classes(architecture: str, size: int, channels: int, classes: int) -> None:
    net = model(architecture, channels=channels, classes=classes, width=0.25)
    assert net(torch.zeros(2, channels, size, size)).shape == (2, classes)


def test_width_multiplies_the_channels() -> None:
    assert model("resnet8", width=2).get_parameter("head.weight").shape[1] == 128
    assert model("resnet8", width=0.5).get_parameter("head.weight").shape[1] == 32
    assert model("resnet9", width=0.25).get_parameter("head.weight").shape[1] == 128


def test_shortcut_a_takes_every_other_pixel_and_pads_channels_with_zeros() -> None:
    x = torch.randn(1, 4, 6, 6)
    out = shortcut("A", 4, 8, stride=2, norm="batch")(x)
    assert torch.equal(out[:, 2:6], x[:, :, ::2, ::2])
    assert not out[:, :2].any()
    assert not out[:, 6:].any()


def test_shortcut_b_is_a_strided_1x1_convolution() -> None:
    x = torch.randn(2, 4, 7, 7)
    way = shortcut("B", 4, 8, stride=2, norm="batch").eval()
    _, projection, norm = way.children()
    expected = norm(F.conv2d(x, projection.get_parameter("weight"), stride=2))
    torch.testing.assert_close(way(x), expected)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_no_1x1_convolution_has_a_stride_which_crashes_onednn(architecture: str) -> None:
    convolutions = [module for module in model(architecture).modules() if isinstance(module, nn.Conv2d)]
    assert not [c for c in convolutions if c.kernel_size == (1, 1) and c.stride != (1, 1)]


def test_dropout_stands_before_the_head_alone() -> None:
    net = model("resnet8", dropout=0.5)
    assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.5]
    assert net.eval()(torch.ones(2, 3, 8, 8)).shape == (2, 10)


def test_weights_start_as_torch_starts_them() -> None:
    weights = model("resnet18").get_parameter("stem.0.weight")
    bound = 1 / (3 * 3 * 3) ** 0.5  # kaiming_uniform with a = sqrt(5)
    assert 0.9 * bound < weights.abs().max() <= bound


@pytest.mark.parametrize("architecture", ["resnet8", "resnet18", "resnet9", "cnn"])
@pytest.mark.parametrize(("norm", "kind"), [("batch", nn.BatchNorm2d), ("group", nn.GroupNorm), ("none", None)])
def test_the_norm_layers_are_of_one_kind_and_biases_stand_in_for_them(architecture: str, norm: str, kind: type) -> None:
    net = model(architecture, norm=norm, width=0.25)
    norms = {type(module) for module in net.modules() if isinstance(module, nn.BatchNorm2d | nn.GroupNorm)}
    assert norms == ({kind} if kind else set())
    with_bias = {module.bias is not None for module in net.modules() if isinstance(module, nn.Conv2d)}
    assert with_bias == {norm == "none"}
    net(torch.randn(2, 3, 8, 8)).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_a_group_norm_has_eight_channels_a_group_where_that_divides_them() -> None:
    assert [norm_layer("group", channels).num_groups for channels in (1, 5, 8, 12, 16, 20, 64)] == [1, 1, 1, 1, 2, 2, 8]


@pytest.mark.parametrize("architecture", ["resnet8", "resnet110", "resnet9"])
def test_without_norm_layers_a_residual_branch_starts_at_zero_so_the_signal_keeps_its_size(architecture: str) -> None:
    net = model(architecture, norm="none", width=0.25)
    scales = [p for name, p in net.named_parameters() if name.endswith("scale")]
    assert scales
    assert not any(scale.any() for scale in scales)
    logits = net(torch.randn(8, 3, 8, 8))
    assert logits.isfinite().all()
    assert logits.abs().max() < 10
