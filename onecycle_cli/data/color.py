"""Random colours of whole batches, each image with its own: brightness, contrast, saturation and hue.

The images are "levels": float32 (B, channels, height, width) with whole numbers from 0 to 255. Each change ends with
whole levels, as torchvision's functions for uint8 images do.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from onecycle_cli.data.warping import uniform

BRIGHTNESS, CONTRAST, SATURATION = range(3)


def grey(levels: Tensor) -> Tensor:
    """Returns grey images, (B, 1, height, width), with the weights of ITU-R 601; grey images stay as they are."""
    if levels.shape[1] == 1:
        return levels
    red, green, blue = levels.split(1, dim=1)
    return torch.add(red * 0.2989, green, alpha=0.587).add_(blue, alpha=0.114).floor_()


def blended(levels: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """Returns `factor * levels + (1 - factor) * other`, cut off to whole levels; a factor of 1 changes nothing."""
    return (levels * factor).add_(other * (1 - factor)).clamp_(0, 255).floor_()


def hue_shifted(levels: Tensor, shift: Tensor) -> Tensor:
    """Shifts the hue of each image by a share of the whole circle, (B, 1, 1, 1); grey images stay as they are."""
    if levels.shape[1] == 1:
        return levels
    low, high = torch.aminmax(levels, dim=1, keepdim=True)
    span = high - low
    red, green, blue = (levels / span.clamp(min=1)).split(1, dim=1)
    # The hue in sixths of the circle, from the two channels that are not the largest one.
    hue = torch.where(
        levels[:, 0:1] == high,
        green - blue,
        torch.where(levels[:, 1:2] == high, 2 + (blue - red), 4 + (red - green)),
    )
    hue = hue + 6 * shift
    # A channel is high for two sixths of the circle, low for two, and between them on a line.
    sixths = torch.stack([hue + 5, hue + 3, hue + 1], dim=1)[:, :, 0].remainder_(6)
    dark = torch.minimum(sixths, 4 - sixths).clamp_(0, 1)
    # torchvision converts to 0 to 1 and back, where 1 becomes 256 - 0.001 before it is cut off.
    return (high - span * dark).mul_((256 - 1e-3) / 255).floor_()


@dataclass(frozen=True)
class ColorJitter:
    """Random brightness, contrast, saturation and hue in a random order, as torchvision's ColorJitter.

    The factors of the first three are uniform within the given distance of 1, but never below 0; the shift of the hue
    is uniform within the given distance of 0, as a share of the circle.
    """

    brightness: float
    contrast: float
    saturation: float
    hue: float

    columns: ClassVar[int] = 8

    def draw(self, images: int, size: int, generator: torch.Generator) -> Tensor:  # noqa: ARG002 - as all draw
        """Draws the order of the first three, their factors in this order, how many come before the hue, its shift.

        Returns float64 (images, 3 + 3 + 1 + 1). A random order of four is a random order of three with the fourth put
        at one of four places.
        """
        order = torch.rand((images, 3), generator=generator).argsort(1)
        spans = (self.brightness, self.contrast, self.saturation)
        factors = [uniform((images,), max(0.0, 1 - span), 1 + span, generator) for span in spans]
        before_hue = torch.randint(4, (images, 1), generator=generator)
        shift = uniform((images, 1), -self.hue, self.hue, generator)
        return torch.cat([order, torch.stack(factors, dim=1).gather(1, order), before_hue, shift], dim=1)

    def __call__(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Changes the colours of each image as drawn."""
        order, factors, before_hue, shift = drawn[..., None, None, None].split([3, 3, 1, 1], dim=1)
        if images.shape[1] == 1:
            factors = torch.where(order == SATURATION, 1, factors)
        if self.hue == 0:
            return _blended_in_order(images, order, factors)
        comes_before = torch.arange(3, device=images.device).view(3, 1, 1, 1) < before_hue
        images = _blended_in_order(images, order, torch.where(comes_before, factors, 1))
        images = hue_shifted(images, shift[:, 0])
        return _blended_in_order(images, order, torch.where(comes_before, 1, factors))


def _blended_in_order(levels: Tensor, order: Tensor, factors: Tensor) -> Tensor:
    """Changes brightness, contrast and saturation, each image in its own order; both are (B, 3, 1, 1, 1)."""
    for kind, factor in zip(order.unbind(1), factors.unbind(1), strict=True):
        colourless = grey(levels)
        mean = colourless.mean((2, 3), keepdim=True)
        other = torch.where(kind == SATURATION, colourless, torch.where(kind == CONTRAST, mean, 0))
        levels = blended(levels, other, factor)
    return levels
