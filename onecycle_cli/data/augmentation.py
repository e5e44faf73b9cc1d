"""Random crops and flips of whole batches, on the device where the images lie.

Padding, crop and flip together are one gather: for each pixel of the result it is computed which pixel of the image it
shows, so that nothing is padded and nothing is copied twice.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """What is done at random to a training image; `padding` is in pixels on each side, of which a crop leaves some."""

    horizontal_flip: bool = False
    random_crop: bool = False
    padding: int = 0
    padding_mode: str = "reflect"


@dataclass(frozen=True)
class Draws:
    """What was drawn for a number of images: where each crop starts in the padded image, and whether it is mirrored.

    `top` and `left` are int64 from 0 to twice the padding, `flip` is bool; all of shape (images,).
    """

    top: Tensor
    left: Tensor
    flip: Tensor

    def at(self, positions: slice) -> "Draws":
        """The draws of some of the images."""
        return Draws(self.top[positions], self.left[positions], self.flip[positions])


def draw(images: int, augmentation: Augmentation, generator: torch.Generator) -> Draws:
    """Uniform crops and fair flips for `images` images, as torchvision's RandomCrop and RandomHorizontalFlip draw them.

    On the CPU, whatever the device of the images, so that every device sees the same.
    """
    places = 2 * augmentation.padding + 1 if augmentation.random_crop else 1
    top, left = (torch.randint(places, (images,), generator=generator) for _ in range(2))
    if not augmentation.random_crop:
        top, left = top + augmentation.padding, left + augmentation.padding
    flip = torch.rand(images, generator=generator) < (0.5 if augmentation.horizontal_flip else 0)
    return Draws(top, left, flip)


def augmented(images: Tensor, draws: Draws, augmentation: Augmentation) -> Tensor:
    """The images, each padded, cropped and flipped as drawn; uint8 (B, height, width, channels), as is the result."""
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
    """Positions outside 0 to `size - 1` folded back, the edge itself not repeated."""
    return (size - 1) - ((size - 1) - position.abs()).abs()
