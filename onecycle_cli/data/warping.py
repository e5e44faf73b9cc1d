"""Random geometry of whole batches: resized crops and affine maps, each image with its own.

The images are "levels": float32 (B, channels, height, width) with whole numbers from 0 to 255. Interpolation is
bilinear, and the result is rounded to whole levels, as torchvision does with uint8 images.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

Ends = tuple[float, ...]
"""The lowest and the highest value of a range."""

ATTEMPTS = 10
"""The number of random rectangles to try, as in torchvision; some do not fit into the image."""


def uniform(shape: tuple[int, ...], low: float, high: float, generator: torch.Generator) -> Tensor:
    """Draws numbers between `low` and `high`, float64, on the CPU."""
    return low + (high - low) * torch.rand(shape, generator=generator, dtype=torch.float64)


def whole(limit: Tensor, generator: torch.Generator) -> Tensor:
    """Draws a whole number from 0 to `limit` - 1 for each limit."""
    return (torch.rand(limit.shape, generator=generator, dtype=torch.float64) * limit).floor()


def rectangles(images: int, size: int, scale: Ends, ratio: Ends, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draws `ATTEMPTS` rectangles for each image, in whole pixels.

    Returns two sides, (images, ATTEMPTS): the first is the root of area times ratio, the second of area divided by
    ratio. The area is uniform in `scale` (a share of the image), the ratio uniform in its logarithm.
    """
    shape = (images, ATTEMPTS)
    area = size * size * uniform(shape, scale[0], scale[1], generator)
    aspect = uniform(shape, math.log(ratio[0]), math.log(ratio[1]), generator).exp()
    return (area * aspect).sqrt().round(), (area / aspect).sqrt().round()


def first(fits: Tensor, of: Tensor, otherwise: float) -> Tensor:
    """Returns for each image the value in `of` at its first attempt that fits, and `otherwise` if none does."""
    chosen = of.gather(1, fits.int().argmax(1, keepdim=True))[:, 0]
    return torch.where(fits.any(1), chosen, otherwise)


def sampled(levels: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """Samples images at positions in pixels, (B, height, width) each; the centre of the first pixel is at 0.

    Outside of the image everything is black.
    """
    height, width = levels.shape[2:]
    grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=3)
    return F.grid_sample(levels, grid, mode="bilinear", padding_mode="zeros", align_corners=False).round_()


@dataclass(frozen=True)
class RandomResizedCrop:
    """A random part of each image, resized to the size of the image, as torchvision's RandomResizedCrop.

    `scale` is the range of the part's area as a share of the image, `ratio` the range of its width by its height. The
    part is never larger than the result, so antialiasing would change nothing.
    """

    scale: Ends
    ratio: Ends

    columns: ClassVar[int] = 4

    def draw(self, images: int, size: int, generator: torch.Generator) -> Tensor:
        """Draws top, left, height and width of the part of each image, float64 (images, 4)."""
        widths, heights = rectangles(images, size, self.scale, self.ratio, generator)
        fits = (widths > 0) & (widths <= size) & (heights > 0) & (heights <= size)
        # If no attempt fits: the largest part in the centre with the nearest ratio, which is the whole image for 1.
        width, height = min(size, round(size * self.ratio[1])), min(size, round(size / self.ratio[0]))
        heights, widths = first(fits, heights, height), first(fits, widths, width)
        top, left = whole(size - heights + 1, generator), whole(size - widths + 1, generator)
        fitting = fits.any(1)
        top = torch.where(fitting, top, (size - height) // 2)
        left = torch.where(fitting, left, (size - width) // 2)
        return torch.stack([top, left, heights, widths], dim=1)

    def __call__(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Crops and resizes each image as drawn."""
        size = images.shape[2]
        top, left, height, width = (column[:, None] for column in drawn.unbind(1))
        at = torch.arange(size, device=images.device) + 0.5
        # The part's own edge is repeated, not what lies beyond it in the image.
        y = top + torch.minimum((at * height / size - 0.5).clamp(min=0), height - 1)
        x = left + torch.minimum((at * width / size - 0.5).clamp(min=0), width - 1)
        shape = (len(images), size, size)
        return sampled(images, x[:, None, :].expand(shape), y[:, :, None].expand(shape))


@dataclass(frozen=True)
class Affine:
    """The parameters of an affine map for each image, (B,) each.

    `angle` is in radians, clockwise; `x` and `y` are the shift in pixels; `scale` is the magnification; `shear_x` and
    `shear_y` are the tangents of the shear; `centre` is what stays in place, in pixels from the centre of the image.
    """

    angle: Tensor
    x: Tensor
    y: Tensor
    scale: Tensor
    shear_x: Tensor
    shear_y: Tensor
    centre: Tensor


def warped(levels: Tensor, affine: Affine) -> Tensor:
    """Maps each image; what comes from outside is black. The map is that of torchvision's `affine`."""
    size = levels.shape[2]
    sin, cos = affine.angle.sin(), affine.angle.cos()
    a, c = cos + sin * affine.shear_y, sin - cos * affine.shear_y
    b, d = -(a * affine.shear_x + sin), cos - c * affine.shear_x
    # From a pixel of the result back to where it comes from: the inverse of [[a, b], [c, d]] has the determinant 1.
    centred = torch.arange(size, device=levels.device) - (size - 1) / 2
    column = centred - (affine.centre + affine.x)[:, None]
    row = centred - (affine.centre + affine.y)[:, None]
    column, row = column[:, None, :] / affine.scale[:, None, None], row[:, :, None] / affine.scale[:, None, None]
    middle = affine.centre[:, None, None] + (size - 1) / 2
    a, b, c, d = (entry[:, None, None] for entry in (a, b, c, d))
    return sampled(levels, d * column - b * row + middle, a * row - c * column + middle)


@dataclass(frozen=True)
class RandomAffine:
    """A random affine map of each image, as torchvision's RandomAffine with bilinear interpolation.

    `degrees` and `shear` are the largest angles in either direction, `translate` the largest shift as a share of the
    side, `scale` the range of the magnification. With degrees alone this is torchvision's RandomRotation.
    """

    degrees: float
    translate: float
    scale: Ends
    shear: float

    columns: ClassVar[int] = 5

    def draw(self, images: int, size: int, generator: torch.Generator) -> Tensor:
        """Draws the angle in degrees, the shift to the right and down in pixels, the scale, the shear in degrees."""
        angle = uniform((images,), -self.degrees, self.degrees, generator)
        most = self.translate * size
        x, y = (uniform((images,), -most, most, generator).round() for _ in range(2))
        scale = uniform((images,), self.scale[0], self.scale[1], generator)
        shear = uniform((images,), -self.shear, self.shear, generator)
        return torch.stack([angle, x, y, scale, shear], dim=1)

    def __call__(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Maps each image as drawn."""
        angle, x, y, scale, shear = drawn.unbind(1)
        none = torch.zeros_like(angle)
        return warped(images, Affine(angle.deg2rad(), x, y, scale, shear.deg2rad().tan(), none, none))
