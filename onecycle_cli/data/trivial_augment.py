"""TrivialAugmentWide on whole batches: each image gets one of 14 changes, of random strength.

Reference: Mueller and Hutter, "TrivialAugment: Tuning-free Yet State-of-the-Art Data Augmentation",
https://arxiv.org/abs/2103.10158, in the form of torchvision's `TrivialAugmentWide` with bilinear interpolation.

A batch takes the same operations whatever is drawn, so that a CUDA graph can record them. Five changes are one affine
map. Six assign a new level to each level: one table of 256 levels for each channel of each image has them all.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from onecycle_cli.data.color import blended, grey
from onecycle_cli.data.warping import Affine, warped

NAMES = (
    *("Identity", "ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate", "Brightness", "Color", "Contrast"),
    *("Sharpness", "Posterize", "Solarize", "AutoContrast", "Equalize"),
)
"""The changes, by their names in torchvision; a draw is an index of this tuple."""

STRENGTHS = 31
"""The number of strengths of a change."""


def _strengths() -> Tensor:
    """Returns the strengths of each change, float32 (14, 31); 0 where a change has none."""
    table = torch.zeros(len(NAMES), STRENGTHS)
    for name in ("ShearX", "ShearY", "Brightness", "Color", "Contrast", "Sharpness"):
        table[NAMES.index(name)] = torch.linspace(0, 0.99, STRENGTHS)
    for name in ("TranslateX", "TranslateY"):
        table[NAMES.index(name)] = torch.linspace(0, 32, STRENGTHS).floor()  # whole pixels
    table[NAMES.index("Rotate")] = torch.linspace(0, 135, STRENGTHS)  # degrees
    bits = (8 - torch.arange(STRENGTHS) / ((STRENGTHS - 1) / 6)).round()
    table[NAMES.index("Posterize")] = 2 ** (8 - bits)  # the number of levels that become one
    table[NAMES.index("Solarize")] = torch.linspace(1, 0, STRENGTHS) * 255  # the lowest level that is inverted
    return table


SIGNED = torch.tensor([name in NAMES[1:10] for name in NAMES])
"""Whether a change goes in both directions."""


def _changed(change: Tensor, name: str, value: Tensor, otherwise: Tensor | float) -> Tensor:
    """Returns `value` for the images that get this change."""
    return torch.where(change == NAMES.index(name), value, otherwise)


@dataclass(frozen=True)
class TrivialAugment:
    """One of 14 changes for each image, of random strength, as torchvision's TrivialAugmentWide."""

    columns: ClassVar[int] = 2

    def draw(self, images: int, size: int, generator: torch.Generator) -> Tensor:  # noqa: ARG002 - as all draw
        """Draws the change, an index of `NAMES`, and its strength, (images, 2)."""
        change = torch.randint(len(NAMES), (images,), generator=generator)
        strength = _strengths()[change, torch.randint(STRENGTHS, (images,), generator=generator)]
        negative = (torch.rand(images, generator=generator) <= 0.5) & SIGNED[change]
        return torch.stack([change, torch.where(negative, -strength, strength)], dim=1)

    def __call__(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Changes each image as drawn."""
        change, strength = drawn.unbind(1)
        levels = warped(images, self._map(change, strength, images.shape[2]))
        change, strength = change[:, None, None], strength[:, None, None]
        levels = _looked_up(levels, _tables(levels, change, strength))
        change, factor = change[..., None], 1 + strength[..., None]
        if levels.shape[1] > 1:
            levels = blended(levels, grey(levels), _changed(change, "Color", factor, 1))
        return _sharpened(levels, _changed(change, "Sharpness", factor, 1))

    def _map(self, change: Tensor, strength: Tensor, size: int) -> Affine:
        """Returns the map of each image; images with another change stay in place."""

        def only(name: str, value: Tensor) -> Tensor:
            return _changed(change, name, value, 0)

        shear_x, shear_y = only("ShearX", strength), only("ShearY", strength)
        sheared = (shear_x != 0) | (shear_y != 0)
        return Affine(
            angle=only("Rotate", -strength.deg2rad()),
            x=only("TranslateX", strength),
            y=only("TranslateY", strength),
            scale=torch.ones_like(strength),
            shear_x=shear_x,
            shear_y=shear_y,
            centre=torch.where(sheared, -size / 2, 0.0),  # the upper left corner
        )


def _tables(levels: Tensor, change: Tensor, strength: Tensor) -> Tensor:
    """Returns the new level of each level, float32 (B, channels, 256), for the changes that assign one.

    `change` and `strength` are (B, 1, 1).
    """
    every = torch.arange(256, device=levels.device, dtype=levels.dtype)
    table = every.expand(*levels.shape[:2], 256)
    factor, mean = 1 + strength, grey(levels).mean((2, 3))[..., None]
    table = _changed(change, "Brightness", (every * factor).clamp(0, 255).floor(), table)
    table = _changed(change, "Contrast", blended(every, mean, factor), table)
    table = _changed(change, "Posterize", (every / strength).floor() * strength, table)
    table = _changed(change, "Solarize", torch.where(every >= strength, 255 - every, every), table)
    table = _changed(change, "AutoContrast", _stretched(levels, every), table)
    return _changed(change, "Equalize", _equalized(levels, every), table)


def _stretched(levels: Tensor, every: Tensor) -> Tensor:
    """Returns tables that map the darkest level of each channel to 0 and the brightest to 255."""
    low, high = (end(levels, (2, 3))[..., None] for end in (torch.amin, torch.amax))
    stretched = ((every - low) / ((high - low) * (1 / 255))).clamp(0, 255).floor()
    return torch.where(high == low, every, stretched)


def _equalized(levels: Tensor, every: Tensor) -> Tensor:
    """Returns tables that spread the levels of each channel evenly, with the whole numbers of Pillow's `equalize`."""
    index = levels.flatten(2).long()
    counts = torch.zeros(*levels.shape[:2], 256, dtype=torch.long, device=levels.device)
    counts.scatter_add_(2, index, torch.ones_like(index))
    brightest = counts.gather(2, index.amax(2, keepdim=True))
    step = (index.shape[2] - brightest).div(255, rounding_mode="floor")
    below = counts.cumsum(2) - counts
    spread = (below + step // 2).div(step.clamp(min=1), rounding_mode="floor").clamp(0, 255)
    return torch.where(step == 0, every, spread.to(every.dtype))


def _looked_up(levels: Tensor, tables: Tensor) -> Tensor:
    return tables.gather(2, levels.flatten(2).long()).view_as(levels)


def _sharpened(levels: Tensor, factor: Tensor) -> Tensor:
    """Moves each pixel away from the mean around it by `factor - 1`, (B, 1, 1, 1); the border stays as it is."""
    inner = levels[:, :, 1:-1, 1:-1]
    around = F.avg_pool2d(levels, 3, stride=1, divisor_override=1)
    smooth = ((around + 4 * inner) / 13).round_()  # weights 1 around and 5 in the middle
    sharp = (inner + (smooth - inner) * (1 - factor)).clamp_(0, 255).floor_()
    return F.pad(sharp - inner, (1, 1, 1, 1)) + levels
