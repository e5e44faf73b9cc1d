"""Networks that are not in the package, for tasks whose best max_lr cannot be guessed from those of small ResNets."""

from itertools import pairwise

import torch
from torch import Tensor, nn


def mlp(channels: int, classes: int, *, image_size: int, hidden: int = 128, layers: int = 2) -> nn.Module:
    """Fully connected layers with ReLU and no norm."""
    sizes = [channels * image_size**2, *(layers * [hidden])]
    hidden_layers = [part for pair in pairwise(sizes) for part in (nn.Linear(*pair), nn.ReLU())]
    return nn.Sequential(nn.Flatten(), *hidden_layers, nn.Linear(sizes[-1], classes))


class Attention(nn.Module):
    """Self-attention with matrix products: on a CPU, torch's fused form takes ten times as long in bfloat16."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.inputs = nn.Linear(width, 3 * width)
        self.outputs = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        """Returns tokens of the same shape, images x tokens x width."""
        query, key, value = self.inputs(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(dim=-1)
        mixed: Tensor = self.outputs((weights @ value).transpose(1, 2).flatten(2))
        return mixed


class Block(nn.Module):
    """Attention, then two linear layers, each after a layer norm and with a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.attention = nn.Sequential(nn.LayerNorm(width), Attention(width, heads=4))
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """Returns tokens of the same shape, images x tokens x width."""
        tokens = tokens + self.attention(tokens)
        after: Tensor = tokens + self.mlp(tokens)
        return after


class Vit(nn.Module):
    """A vision transformer that reads the class from the mean of its patches, with learned positions."""

    def __init__(self, channels: int, classes: int, *, image_size: int, patch: int, width: int, depth: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.positions = nn.Parameter(0.02 * torch.randn((image_size // patch) ** 2, width))
        self.blocks = nn.Sequential(*(Block(width) for _ in range(depth)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, classes)

    def forward(self, images: Tensor) -> Tensor:
        """Returns the logits, images x classes."""
        tokens = self.patches(images).flatten(2).transpose(1, 2) + self.positions
        logits: Tensor = self.head(self.norm(self.blocks(tokens)).mean(dim=1))
        return logits


def vit(channels: int, classes: int, *, image_size: int, patch: int = 4, width: int = 64, depth: int = 3) -> nn.Module:
    """A small `Vit`."""
    return Vit(channels, classes, image_size=image_size, patch=patch, width=width, depth=depth)
