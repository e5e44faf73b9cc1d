"""MixUp and CutMix: each image of a batch is mixed with the image before it, and so are the labels.

References: Zhang et al., "mixup: Beyond Empirical Risk Minimization", https://arxiv.org/abs/1710.09412; Yun et al.,
"CutMix", https://arxiv.org/abs/1905.04899. The whole batch has one share and one rectangle, as in torchvision.
"""

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from onecycle_cli.data.erasing import inside


@dataclass(frozen=True)
class Mixing:
    """MixUp and CutMix, with the alpha of the Beta distribution of the shares; 0: off.

    With both, each batch gets one of the two with equal probability, as in torchvision's training reference.
    """

    mixup: float
    cutmix: float

    columns: ClassVar[int] = 6

    def draw(self, images: int, size: int, generator: torch.Generator) -> Tensor:
        """Draws how to mix a batch, float64 (images, 6) with equal rows.

        The columns are the weight of each image's own pixels; top, left, height and width of the rectangle that is cut
        from the other image; and the share of the image's own label.
        """
        seed, choice = torch.randint(2**62, (2,), generator=generator).tolist()
        # torch's Beta distribution draws from the global generator alone.
        numpy = np.random.default_rng(seed)
        if self.cutmix == 0 or (self.mixup > 0 and choice % 2 == 0):
            weight = numpy.beta(self.mixup, self.mixup)
            row = [weight, 0, 0, 0, 0, weight]
        else:
            half = int(0.5 * math.sqrt(1 - numpy.beta(self.cutmix, self.cutmix)) * size)
            ends = [(max(0, at - half), min(size, at + half)) for at in numpy.integers(size, size=2).tolist()]
            (top, bottom), (left, right) = ends
            share = 1 - (bottom - top) * (right - left) / size**2
            row = [1, top, left, bottom - top, right - left, share]
        return torch.tensor(row, dtype=torch.float64).expand(images, -1)

    def __call__(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Mixes each image, float32 (B, channels, height, width), with the one before it; the first with the last."""
        others, weight = images.roll(1, 0), drawn[:, 0, None, None, None]
        mixed = others * (1 - weight) + images * weight
        return torch.where(inside(drawn[:, 1:5], images), others, mixed)
