"""The multiply-adds of a forward pass, by hand, and of networks of every kind."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from onecycle_cli.training.multiply_adds import multiply_adds


def test_multiply_adds_are_those_of_convolutions_and_linear_layers() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, stride=2, groups=2), nn.Flatten()
    )
    head = nn.Linear(8 * 3 * 3, 10)
    image = torch.zeros(1, 3, 8, 8)
    # By hand: outputs times weights of each; 8x8 pixels, then 3x3.
    by_hand = 8 * 8 * 8 * (3 * 9) + 8 * 3 * 3 * (4 * 9) + 10 * 72
    assert multiply_adds(nn.Sequential(model, head), image) == by_hand


def test_counting_takes_no_memory_for_a_large_image() -> None:
    model = nn.Conv2d(1, 1, 1)
    assert multiply_adds(model, torch.empty(1, 1, 2**20, 2**20, device="meta")) == 2**40


@pytest.mark.parametrize("side", [8, 520], ids=["real", "meta"])
def test_counting_leaves_the_network_as_it_was(side: int) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert multiply_adds(model, torch.ones(1, 1, side, side)) == 2 * 9 * (side - 2) ** 2
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(layer._forward_hooks for layer in model)


ENCODER = nn.TransformerEncoderLayer(8, nhead=2, dim_feedforward=16, batch_first=True)


class Attention(nn.Module):
    """Images as rows of tokens of 8 values, for one layer of a transformer, in one of four forms."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form, self.layer = form, ENCODER

    def forward(self, x: Tensor) -> Tensor:
        tokens = x.flatten(1, 2)
        if self.form == "layer":
            return self.layer(tokens)
        if self.form == "products":
            return torch.bmm(tokens @ tokens.transpose(1, 2), tokens)
        if self.form == "sums":
            return torch.einsum("...ij,...jk->...ik", torch.einsum("bic,bjc->bij", tokens, tokens), tokens)
        return F.scaled_dot_product_attention(tokens, tokens, tokens)


@pytest.mark.parametrize("side", [8, 25_000], ids=["real", "meta"])
@pytest.mark.parametrize("form", ["layer", "products", "sums", "function"])
def test_the_products_of_attention_count(form: str, side: int) -> None:
    tokens = side
    products = 2 * tokens * tokens * 8
    linear = tokens * (8 * 24 + 8 * 8 + 2 * 8 * 16)
    image = torch.zeros(1, 1, side, 8)
    assert multiply_adds(Attention(form), image) == products + (linear if form == "layer" else 0)


def test_a_transposed_convolution_counts_its_inputs() -> None:
    layer = nn.ConvTranspose2d(3, 5, 2, stride=2)
    assert multiply_adds(layer, torch.zeros(1, 3, 4, 4)) == 3 * 4 * 4 * (5 * 2 * 2)


class Unusual(nn.Module):
    """Has a tensor that is no buffer, a buffer that is not saved, and reads a value: no pass on `meta` is possible."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv2d(1, 2, 1)
        self.constant = torch.ones(2, 1, 1)
        self.register_buffer("scale", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) * self.constant * (self.scale if x.sum() > 0 else 1)


@pytest.mark.parametrize("side", [8, 520])
def test_a_network_that_cannot_run_on_meta_is_counted_with_a_real_pass(side: int) -> None:
    assert multiply_adds(Unusual(), torch.ones(1, 1, side, side)) == 2 * side * side


def test_a_network_that_cannot_run_on_one_image_has_no_count_and_keeps_its_mode() -> None:
    class Pairs(nn.Module):
        def forward(self, _: Tensor) -> Tensor:
            raise ValueError("only pairs of images")

    model = Pairs().train()
    assert multiply_adds(model, torch.zeros(1, 1, 8, 8)) is None
    assert model.training
