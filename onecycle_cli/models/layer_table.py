"""A table of a network's layers: where they are, what they are, and how many numbers they hold."""

from dataclasses import dataclass

from torch import nn

from onecycle_cli.models.layer_groups import layer_groups


@dataclass(frozen=True)
class LayerRow:
    """A module with parameters: its layer group, its name in the network, its class, its shapes, its parameters.

    `shapes` has the shape of each of its own parameters, such as "weight 16x3x3x3, bias 16".
    """

    group: str
    layer: str
    kind: str
    shapes: str
    parameters: int


def layer_table(model: nn.Module, classes: int) -> list[LayerRow]:
    """Returns a row for each module of a network that has parameters of its own, in the order of the layer groups.

    `classes` is the number of outputs of the network.
    """
    modules, tensors = dict(model.named_modules()), dict(model.named_parameters())
    rows = []
    for group, names in layer_groups(model, classes).items():
        of_layer: dict[str, list[str]] = {}
        for name in names:
            of_layer.setdefault(name.rpartition(".")[0], []).append(name)
        for layer, own in of_layer.items():
            shapes = ", ".join(f"{name.rpartition('.')[2]} {_shape(tensors[name])}" for name in own)
            parameters = sum(tensors[name].numel() for name in own)
            rows.append(LayerRow(group, layer or "(network)", type(modules[layer]).__name__, shapes, parameters))
    return rows


def _shape(tensor: nn.Parameter) -> str:
    return "x".join(map(str, tensor.shape)) or "1"
