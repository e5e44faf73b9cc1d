"""Random erasing of whole batches: a rectangle of each image becomes the mean colour."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from onecycle_cli.data.warping import Ends, first, rectangles, whole


def inside(rectangle: Tensor, images: Tensor) -> Tensor:
    """Returns whether each pixel lies in the rectangle of its image, bool (B, 1, height, width).

    `rectangle` has top, left, height and width in pixels, (B, 4).
    """
    top, left, height, width = rectangle[:, :, None].unbind(1)
    row = torch.arange(images.shape[2], device=images.device)
    column = torch.arange(images.shape[3], device=images.device)
    rows = (row >= top) & (row < top + height)
    columns = (column >= left) & (column < left + width)
    return (rows[:, :, None] & columns[:, None, :])[:, None]


@dataclass(frozen=True)
class RandomErasing:
    """A random rectangle that is replaced by 0 in normalized images, as torchvision's RandomErasing.

    `scale` is the range of its area as a share of the image, `ratio` the range of its height by its width.
    """

    probability: float
    scale: Ends
    ratio: Ends

    columns: ClassVar[int] = 4

    def draw(self, images: int, size: int, generator: torch.Generator) -> Tensor:
        """Draws top, left, height and width of each rectangle, float64 (images, 4); 0 where nothing is erased."""
        heights, widths = rectangles(images, size, self.scale, self.ratio, generator)
        fits = (heights < size) & (widths < size)
        height, width = first(fits, heights, 0), first(fits, widths, 0)
        top, left = whole(size - height + 1, generator), whole(size - width + 1, generator)
        erased = fits.any(1) & (torch.rand(images, generator=generator) < self.probability)
        return torch.stack([top, left, height, width], dim=1) * erased[:, None]

    def __call__(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Erases the rectangles in normalized images, float32 (B, channels, height, width)."""
        return images.masked_fill(inside(drawn, images), 0)
