"""Random crops and flips of whole batches, on the device that holds the images.

Padding, crop and flip are one gather: the index of the source pixel is computed for each pixel of the result. No padded
image is made, and each image is copied once.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """The random changes to a training image; `padding` is in pixels on each side, added before the crop."""

    horizontal_flip: bool = False
    random_crop: bool = False
    padding: int = 0
    padding_mode: str = "reflect"


@dataclass(frozen=True)
class Draws:
    """The random crop and flip of each image.

    `top` and `left` are where the crop starts in the padded image, int64 from 0 to twice the padding. `flip` is bool:
    whether the image is mirrored. All have the shape (images,).
    """

    top: Tensor
    left: Tensor
    flip: Tensor

    def at(self, positions: slice) -> "Draws":
        """Selects the draws of the images in the slice `positions`."""
        return Draws(self.top[positions], self.left[positions], self.flip[positions])


def draw(images: int, augmentation: Augmentation, generator: torch.Generator) -> Draws:
    """Draws a uniform crop and a flip with probability 0.5 for each of `images` images.

    The distributions are those of torchvision's RandomCrop and RandomHorizontalFlip. The draws are made on the CPU, so
    that they are the same for every device.
    """
    places = 2 * augmentation.padding + 1 if augmentation.random_crop else 1
    top, left = (torch.randint(places, (images,), generator=generator) for _ in range(2))
    if not augmentation.random_crop:
        top, left = top + augmentation.padding, left + augmentation.padding
    flip = torch.rand(images, generator=generator) < (0.5 if augmentation.horizontal_flip else 0)
    return Draws(top, left, flip)


def augmented(images: Tensor, draws: Draws, augmentation: Augmentation) -> Tensor:
    """Pads, crops and flips each image as drawn; input and result are uint8 (B, height, width, channels)."""
    if not (augmentation.random_crop or augmentation.horizontal_flip):
        return images
    height, width = images.shape[1:3]
    image = torch.arange(len(images), device=images.device)[:, None, None]
    row = torch.arange(height, device=images.device)
    column = torch.arange(width, device=images.device)
    columns = torch.where(draws.flip[:, None], width - 1 - column, column)
    y = draws.top[:, None] + row - augmentation.padding
    x = draws.left[:, None] + columns - augmentation.padding
    if augmentation.padding_mode == "reflect":
        y, x = _reflected(y, height), _reflected(x, width)
        return images[image, y[:, :, None], x[:, None, :]]
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    return images[image, y[:, :, None], x[:, None, :]] * inside[..., None]


def _reflected(position: Tensor, size: int) -> Tensor:
    """Reflects positions outside 0 to `size - 1` back into that range, without repeating the edge."""
    return (size - 1) - ((size - 1) - position.abs()).abs()
