"""The parameters that do not decay, by hand and against timm."""

import pytest
import torch
import torchvision
from torch import nn

from onecycle_cli.training.weight_decay import spared_from_decay


class Embedded(nn.Module):
    """A network with parameters of every kind."""

    def __init__(self) -> None:
        super().__init__()
        self.pos_embed = nn.Parameter(torch.zeros(1, 4, 8))
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 8))
        self.relative_position_bias_table = nn.Parameter(torch.zeros(9, 2))
        self.temperature = nn.Parameter(torch.zeros(()))
        self.mask = nn.Parameter(torch.zeros(3, 3))
        self.positions = nn.Parameter(torch.zeros(3, 3))
        self.position_embeddings = nn.Embedding(4, 8)
        self.words = nn.Embedding(4, 8)
        self.pos_embed_layer = nn.Linear(2, 2)
        self.norm = nn.LayerNorm((8, 2, 2))
        self.mix = nn.Bilinear(2, 2, 2)
        self.attention = nn.MultiheadAttention(8, 2, add_bias_kv=True)

    def no_weight_decay(self) -> set[str]:
        return {"mask"}


def test_norms_biases_and_embeddings_of_positions_are_spared_and_weights_are_not() -> None:
    model = nn.Sequential(Embedded())
    decayed = {name for name, _ in model.named_parameters()} - spared_from_decay(model)
    layers = ("words.weight", "pos_embed_layer.weight", "mix.weight")
    attention = ("attention.in_proj_weight", "attention.out_proj.weight")
    assert decayed == {f"0.{name}" for name in ("positions", *layers, *attention)}


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "convnext_atto", "coat_tiny"])
def test_they_are_those_that_timm_spares(name: str) -> None:
    import timm
    from timm.optim import param_groups_weight_decay

    model = timm.create_model(name)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    without = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()
    spared, _ = param_groups_weight_decay(model, no_weight_decay_list=without)
    assert spared_from_decay(model) & {*names.values()} == {names[id(one)] for one in spared["params"]}


def test_the_scales_of_layers_and_the_positions_of_torchvision_are_spared() -> None:
    convnext = torchvision.models.convnext_tiny()
    vit = torchvision.models.VisionTransformer(32, 16, num_layers=1, num_heads=1, hidden_dim=8, mlp_dim=8)
    assert "features.1.0.layer_scale" in spared_from_decay(convnext)
    assert {"class_token", "encoder.pos_embedding"} <= spared_from_decay(vit)


@pytest.mark.parametrize("architecture", ["resnet8", "resnet9", "resnet18"])
def test_of_our_networks_exactly_the_parameters_of_one_dimension_are_spared(architecture: str) -> None:
    from onecycle_cli.models import network_from

    settings = {"width": 0.25, "shortcut_kind": "B", "dropout": 0.0, "channels": 1, "classes": 3}
    model = network_from(settings | {"architecture": architecture}, seed=0)
    assert spared_from_decay(model) == {name for name, one in model.named_parameters() if one.ndim == 1}
