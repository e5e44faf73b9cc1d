"""Batches on a device. An epoch depends on (seed, epoch) alone, so training can start at any step."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import torch
from torch import Tensor

from onecycle_cli.data.augmentation import Augmentation, Draws, augmented, draw
from onecycle_cli.data.epochs import check_batch_size, steps_per_epoch
from onecycle_cli.data.sampling import ClassMembers, shuffled
from onecycle_cli.data.transforms import NO_TRANSFORMS, Transforms


def derived_seed(*parts: int | str) -> int:
    """Hashes all parts to a seed of 63 bits, so that two uses of one recipe's seed draw independent numbers."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


@dataclass(frozen=True)
class Normalization:
    """Normalizes pixels: `(pixel / 255 - mean) / std` for each channel, on one device."""

    shift: Tensor
    scale: Tensor

    @staticmethod
    def of(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> "Normalization":
        """Builds a normalization from the mean and std of each channel, on a scale from 0 to 1."""
        return Normalization(
            torch.tensor([255 * value for value in mean], device=device),
            torch.tensor([1 / (255 * value) for value in std], device=device),
        )

    def __call__(self, pixels: Tensor) -> Tensor:
        """Maps pixels (B, height, width, channels) to float32 (B, channels, height, width), channels last in memory.

        Pixels are uint8, or float32 from 0 to 255.
        """
        return (pixels.to(self.shift.device) - self.shift).mul_(self.scale).permute(0, 3, 1, 2)


class Batch(NamedTuple):
    """A batch for the network: `images` is float32 (B, channels, height, width), `labels` is int64 (B,).

    If images are mixed, `other_labels` are those of the images that each was mixed with, and `share` is the share of
    the image's own label, float32 (B,). Otherwise both are None.
    """

    images: Tensor
    labels: Tensor
    other_labels: Tensor | None = None
    share: Tensor | None = None

    @property
    def main_labels(self) -> Tensor:
        """The label with the larger share of each image, int64 (B,)."""
        if self.other_labels is None or self.share is None:
            return self.labels
        return torch.where(self.share >= 0.5, self.labels, self.other_labels)


class Drawn(NamedTuple):
    """A batch before augmentation, with the random draws for each image, on the device.

    `pixels` is uint8 (B, height, width, channels), `labels` is int64 (B,). `top`, `left` and `flip` are those of
    `Draws`. `transforms` is float32 (B, columns): the draws of `Transforms`, with no column if there are none.
    """

    pixels: Tensor
    labels: Tensor
    top: Tensor
    left: Tensor
    flip: Tensor
    transforms: Tensor


@dataclass(frozen=True)
class Share:
    """The share of one of several processes in each batch: every `ranks`-th image, from image `rank` on.

    Of batches and their micro-batches alike, each process has the same number of images, or one more. A batch with
    fewer than two images for each process is not divided: every process computes all of it.
    """

    rank: int = 0
    ranks: int = 1

    def is_divided(self, images: int) -> bool:
        """Whether the processes divide a batch of so many images among them."""
        return images >= 2 * self.ranks

    def of(self, images: int) -> slice:
        """Returns the positions of the process's own images in a batch of `images`."""
        return slice(self.rank, images, self.ranks) if self.is_divided(images) else slice(images)


WHOLE = Share()
"""The share of a single process: every batch."""


@dataclass(frozen=True)
class TrainBatches:
    """An endless sequence of augmented training batches; each epoch is one permutation of the images.

    `images` is uint8 (N, height, width, channels), on the device, or on the host if the device has too little memory.
    `transforms` come after the crop and flip of `augmentation`; their draws depend on (seed, step). With `members`, an
    epoch has as many images of each class instead, drawn with replacement. `share` selects the images of this process
    from each batch; all draws are those of the whole batch, so they do not depend on the number of processes.
    `InputError` when `batch_size` is larger than the number of images, or cannot be divided among the processes.
    """

    images: Tensor
    labels: Tensor
    normalization: Normalization
    augmentation: Augmentation
    batch_size: int
    drop_last: bool
    seed: int
    transforms: Transforms = NO_TRANSFORMS
    members: ClassMembers | None = None
    share: Share = WHOLE

    def __post_init__(self) -> None:
        check_batch_size(self.batch_size, len(self.labels), self.share.ranks)

    @property
    def drops_single_image(self) -> bool:
        """Whether the last batch has one image and is dropped, because batch norm cannot train on one image."""
        return not self.drop_last and len(self.labels) % self.batch_size == 1

    @property
    def steps_per_epoch(self) -> int:
        """The number of batches in an epoch."""
        return steps_per_epoch(len(self.labels), self.batch_size, drop_last=self.drop_last)

    def images_of(self, step: int) -> int:
        """Returns the number of images in the batch of `step`, over all processes."""
        position = step % self.steps_per_epoch
        return min(self.batch_size, len(self.labels) - position * self.batch_size)

    def drawn(self, step: int) -> Iterator[Drawn]:
        """Yields this process's share of the batch of `step` and of every later one, without end, before augmentation.

        `step` counts from 0. If images are mixed, each image of a divided share comes after the one it is mixed with.
        """
        first_epoch, first_position = divmod(step, self.steps_per_epoch)
        for epoch in count(first_epoch):
            order, draws = self._epoch(epoch)
            for position in range(first_position if epoch == first_epoch else 0, self.steps_per_epoch):
                at = epoch * self.steps_per_epoch + position
                first, images = position * self.batch_size, self.images_of(at)
                batch, own = slice(first, first + images), self._own(images)
                index = order[batch][own]
                pixels, labels = _to(self.device, self.images[index], self.labels[index])
                top, left, flip = (drawn[batch][own] for drawn in (draws.top, draws.left, draws.flip))
                yield Drawn(pixels, labels, top, left, flip, self._transforms(at, images)[own])

    def batch(self, drawn: Drawn) -> Batch:
        """Augments and normalizes a batch; never waits for the device, so that a CUDA graph can record the call."""
        pixels = augmented(drawn.pixels, Draws(drawn.top, drawn.left, drawn.flip), self.augmentation)
        images = self.normalization(self.transforms.on_pixels(pixels, drawn.transforms))
        share = self.transforms.label_share(drawn.transforms)
        others = None if share is None else drawn.labels.roll(1, 0)
        batch = Batch(self.transforms.on_images(images, drawn.transforms), drawn.labels, others, share)
        if others is None or share is None or self.share.ranks == 1:
            return batch
        # The images between were drawn only to be mixed with these.
        return Batch(batch.images[1::2], batch.labels[1::2], others[1::2], share[1::2])

    @property
    def device(self) -> torch.device:
        """The device that the batches are on."""
        return self.normalization.shift.device

    def _own(self, images: int) -> slice | Tensor:
        """Returns the positions of this process's images in a batch; if they are mixed, each after its neighbour."""
        own = self.share.of(images)
        if self.transforms.mixing is None or self.share.ranks == 1:
            return own
        positions = torch.arange(images)[own]
        return torch.stack([(positions - 1) % images, positions], dim=1).flatten()

    def _epoch(self, epoch: int) -> tuple[Tensor, Draws]:
        images = len(self.labels)
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "epoch", epoch))
        order = self.members.balanced(generator) if self.members else shuffled(images, generator)
        draws = draw(images, self.augmentation, generator)
        (order,) = _to(self.images.device, order)
        return order, Draws(*_to(self.device, draws.top, draws.left, draws.flip))

    def _transforms(self, step: int, images: int) -> Tensor:
        if not self.transforms.columns:
            return torch.empty((images, 0), device=self.device)
        generator = torch.Generator().manual_seed(derived_seed(self.seed, "transforms", step))
        (drawn,) = _to(self.device, self.transforms.draw(images, self.images.shape[1], generator))
        return drawn


@dataclass(frozen=True)
class FixedBatches:
    """Batches of unchanged images in a fixed order, to score validation and test images.

    `images` is uint8 (N, height, width, channels), `labels` is int64 (N,).
    """

    images: Tensor
    labels: Tensor
    normalization: Normalization
    batch_size: int

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields pixels, uint8 (B, height, width, channels), and labels, int64 (B,), on the device."""
        return self.shared(WHOLE)

    def shared(self, share: Share) -> Iterator[tuple[Tensor, Tensor]]:
        """Yields the batches of one of several processes. Each has at least one, or if images are few, all of them."""
        own = share.of(len(self.labels))
        images, labels = self.images[own], self.labels[own]
        for start in range(0, len(labels), self.batch_size):
            part = slice(start, start + self.batch_size)
            pixels, answers = _to(self.normalization.shift.device, images[part], labels[part])
            yield pixels, answers


def _to(device: torch.device, *tensors: Tensor) -> tuple[Tensor, ...]:
    """Copies tensors to the device; from the host through pinned memory, so that the copy is asynchronous."""
    if device.type != "cuda":
        return tuple(tensor.to(device) for tensor in tensors)
    return tuple(tensor if tensor.is_cuda else tensor.pin_memory().to(device, non_blocking=True) for tensor in tensors)
