"""Which layers of a network are norms."""

import pytest
import torchvision
from torch import nn

from onecycle_cli.models.norms import is_norm


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm1d(4),
        nn.BatchNorm2d(4, affine=False),
        nn.SyncBatchNorm(4),
        nn.InstanceNorm2d(4),
        nn.GroupNorm(2, 4),
        nn.LayerNorm((4, 2, 2)),
        nn.RMSNorm(4),
        torchvision.ops.FrozenBatchNorm2d(4),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_norms_of_torch_and_torchvision_are_norms(layer: nn.Module) -> None:
    assert is_norm(layer)


def test_norms_of_timm_are_norms() -> None:
    from timm import layers
    from timm.layers.grn import GlobalResponseNorm

    norms = [layers.BatchNormAct2d(4), layers.GroupNormAct(8, num_groups=2), layers.LayerNorm2d(4), layers.RmsNorm(4)]
    norms += [layers.EvoNorm2dS0(8), layers.FilterResponseNormTlu2d(4), GlobalResponseNorm(4)]
    assert [type(norm).__name__ for norm in norms if not is_norm(norm)] == []


class ConvNorm(nn.Sequential):
    """A block whose name says norm."""


class NormalizedLinear(nn.Linear):
    """A layer whose name says norm, with a matrix of weights."""


class Normalize(nn.Module):
    """A function without state."""


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(1, 1, 1),
        nn.Linear(2, 2),
        ConvNorm(nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)),
        NormalizedLinear(2, 2),
        Normalize(),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_other_layers_and_blocks_are_not_norms(layer: nn.Module) -> None:
    assert not is_norm(layer)


def test_the_norms_of_a_resnet_are_all_found() -> None:
    model = torchvision.models.resnet18()
    assert sum(map(is_norm, model.modules())) == 20
    assert not is_norm(model)
