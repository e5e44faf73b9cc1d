"""The table of a network's layers."""

import torch
from torch import nn

from onecycle_cli.models.layer_table import LayerRow, layer_table


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.conv = nn.Conv2d(1, 2, 3)
        self.norm = nn.BatchNorm2d(2)
        self.head = nn.Linear(8, 3)


def test_each_module_with_parameters_has_a_row_with_its_shapes_and_numbers() -> None:
    assert layer_table(Net(), classes=3) == [
        LayerRow("stem", "(network)", "Net", "scale 1", 1),
        LayerRow("stem", "conv", "Conv2d", "weight 2x1x3x3, bias 2", 20),
        LayerRow("stem", "norm", "BatchNorm2d", "weight 2, bias 2", 4),
        LayerRow("head", "head", "Linear", "weight 3x8, bias 3", 27),
    ]
