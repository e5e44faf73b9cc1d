"""The random transforms of the recipe's section `augmentation`, on whole batches on any device.

The draws of a step are one matrix, made on the CPU from the seed and the step alone: a row for each image, some columns
for each transform. The operations are the same whatever is drawn and never wait for the device, so that a CUDA graph
can record them.

They are plain torch. torchvision's functions take one parameter for all images. kornia's take one for each image, but
importing it takes 0.6 s, it defines contrast differently, and its results are not rounded to the levels of torchvision.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from onecycle_cli.data.mixing import Mixing


class Transform(Protocol):
    """A random transform of a batch of images, float32 (B, channels, height, width), each with its own parameters."""

    @property
    def columns(self) -> int:
        """The number of parameters of an image."""
        ...

    def draw(self, images: int, size: int, generator: torch.Generator) -> Tensor:
        """Draws the parameters of square images with `size` pixels a side, (images, columns), on the CPU."""
        ...

    def __call__(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Transforms a batch as drawn; `drawn` is float32 on the device of the images."""
        ...


@dataclass(frozen=True)
class Transforms:
    """Random transforms in their order: first those of levels (0 to 255), then those of normalized images.

    `mixing` comes last; it changes the labels too.
    """

    of_levels: tuple[Transform, ...] = ()
    of_images: tuple[Transform, ...] = ()
    mixing: Mixing | None = None

    @property
    def columns(self) -> int:
        """The number of parameters of an image."""
        return sum(transform.columns for transform in self._all)

    @property
    def _all(self) -> Sequence[Transform]:
        return (*self.of_levels, *self.of_images, *((self.mixing,) if self.mixing else ()))

    def draw(self, images: int, size: int, generator: torch.Generator) -> Tensor:
        """Draws the parameters of all transforms for a batch, float32 (images, columns), on the CPU."""
        drawn = [transform.draw(images, size, generator) for transform in self._all]
        return torch.cat(drawn, dim=1).float() if drawn else torch.empty(images, 0)

    def on_pixels(self, pixels: Tensor, drawn: Tensor) -> Tensor:
        """Transforms pixels, uint8 (B, height, width, channels); the result is float32 if there is any transform."""
        if not self.of_levels:
            return pixels
        # The functions of torch that are used here are up to twice as fast if each channel is one block.
        levels = pixels.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        for transform, own in zip(self.of_levels, self._by_transform(drawn), strict=False):
            levels = transform(levels, own)
        return levels.permute(0, 2, 3, 1).contiguous()

    def on_images(self, images: Tensor, drawn: Tensor) -> Tensor:
        """Transforms and mixes normalized images, float32 (B, channels, height, width), channels last in memory."""
        parameters = list(self._by_transform(drawn))[len(self.of_levels) :]
        for transform, own in zip(self._all[len(self.of_levels) :], parameters, strict=True):
            images = transform(images, own)
        return images.contiguous(memory_format=torch.channels_last) if parameters else images

    def label_share(self, drawn: Tensor) -> Tensor | None:
        """Returns the share of each image's own label, (B,); None if images are not mixed."""
        return drawn[:, -1] if self.mixing else None

    def _by_transform(self, drawn: Tensor) -> Iterator[Tensor]:
        return iter(drawn.split([transform.columns for transform in self._all], dim=1)) if self._all else iter(())


NO_TRANSFORMS = Transforms()
"""No transforms: batches stay as they are."""
