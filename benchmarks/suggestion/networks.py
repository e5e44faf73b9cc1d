"""Networks that are not in the package, for tasks whose best max_lr cannot be guessed from those of small ResNets."""

import torch
from torch import Tensor, nn


def mlp(channels: int, classes: int, *, image_size: int, hidden: int = 128, layers: int = 2) -> nn.Module:
    """Fully connected layers with ReLU and no norm."""
    sizes = [channels * image_size**2] + layers * [hidden]
    hidden_layers = [
        layer
        for one, next_one in zip(sizes, sizes[1:], strict=False)
        for layer in (nn.Linear(one, next_one), nn.ReLU())
    ]
    return nn.Sequential(nn.Flatten(), *hidden_layers, nn.Linear(sizes[-1], classes))


class Vit(nn.Module):
    """A vision transformer whose classes are read from the mean of its patches (pre-norm blocks, learned positions)."""

    def __init__(self, channels: int, classes: int, *, image_size: int, patch: int, width: int, depth: int) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, patch)
        self.positions = nn.Parameter(0.02 * torch.randn((image_size // patch) ** 2, width))
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(width, 4, 2 * width, 0.0, "gelu", batch_first=True, norm_first=True)
                for _ in range(depth)
            )
        )
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
