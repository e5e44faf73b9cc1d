"""Batches on a device. What an epoch looks like follows from (seed, epoch) alone, so any step can be the first."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor

from onecycle_cli.data.augmentation import Augmentation, Draws, augmented, draw
from onecycle_cli.schedule import check_batch_size, steps_per_epoch


def derived_seed(*parts: int | str) -> int:
    """A seed of 63 bits that follows from all the parts: two uses of one recipe's seed share no draws."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True)
class Normalization:
    """`(pixel / 255 - mean) / std` for each channel, on one device."""

    shift: Tensor
    scale: Tensor

    @staticmethod
    def of(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> "Normalization":
        """From the mean and std of each channel, on a scale from 0 to 1."""
        return Normalization(
            torch.tensor([255 * value for value in mean], device=device),
            torch.tensor([1 / (255 * value) for value in std], device=device),
        )

    def __call__(self, pixels: Tensor) -> Tensor:
        """uint8 (B, height, width, channels) to float32 (B, channels, height, width), channels last in memory."""
        return ((pixels.to(self.shift.device) - self.shift) * self.scale).permute(0, 3, 1, 2)


class Batch(NamedTuple):
    """`images` is float32 (B, channels, height, width), `labels` int64 (B,)."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True)
class TrainBatches:
    """The training images as an endless row of augmented batches, epoch after epoch.

    `images` is uint8 (N, height, width, channels). One epoch is one permutation.
    """

    images: Tensor
    labels: Tensor
    normalization: Normalization
    augmentation: Augmentation
    batch_size: int
    drop_last: bool
    seed: int

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size, len(self.labels))

    @property
    def drops_single_image(self) -> bool:
        """Whether the last batch would be one image, which batch norm cannot learn from, and is left out for that."""
        return not self.drop_last and len(self.labels) % self.batch_size == 1

    @property
    def steps_per_epoch(self) -> int:
        return steps_per_epoch(len(self.labels), self.batch_size, drop_last=self.drop_last)

    def from_step(self, step: int) -> Iterator[Batch]:
        """The batches of `step` and all later ones, without end."""
        first_epoch, first_position = divmod(step, self.steps_per_epoch)
        for epoch in count(first_epoch):
            order, draws = self._epoch(epoch)
            for position in range(first_position if epoch == first_epoch else 0, self.steps_per_epoch):
                part = slice(position * self.batch_size, (position + 1) * self.batch_size)
                index = order[part]
                pixels = augmented(self.images, index, draws.at(part), self.augmentation)
                yield Batch(self.normalization(pixels), self.labels[index])

    def _epoch(self, epoch: int) -> tuple[Tensor, Draws]:
        images, device = len(self.labels), self.images.device
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "epoch", epoch))
        order = torch.randperm(images, generator=generator)
        draws = draw(images, self.augmentation, generator)
        return order.to(device), Draws(draws.top.to(device), draws.left.to(device), draws.flip.to(device))


@dataclass(frozen=True)
class FixedBatches:
    """Images as they are, in their order: what validation and test are scored on."""

    images: Tensor
    labels: Tensor
    normalization: Normalization
    batch_size: int

    def __iter__(self) -> Iterator[Batch]:
        for start in range(0, len(self.labels), self.batch_size):
            part = slice(start, start + self.batch_size)
            yield Batch(self.normalization(self.images[part]), self.labels[part])
