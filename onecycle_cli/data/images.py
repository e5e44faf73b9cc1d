"""Plain values: images and labels as numpy arrays, split and named."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Labels = NDArray[np.int64]
Contents = NDArray[np.uint64]
"""A hash of the pixels of each image: equal images have equal ones, and among a million others hardly ever do."""

ValueRange = tuple[float, float]
"""The values of images with more than 8 bits a channel that become 0 and 255; those between become levels between."""


@dataclass(frozen=True)
class Split:
    """`images` is uint8 of shape (N, height, width, channels), in memory or mapped from a file; `labels` is (N,).

    `known_contents` are the hashes of the images where they were computed before; `contents` has them in any case.
    """

    images: Pixels
    labels: Labels
    known_contents: Contents | None = None

    def __len__(self) -> int:
        return len(self.labels)

    def at(self, index: NDArray[np.int64]) -> "Split":
        """The images at these positions, copied."""
        contents = None if self.known_contents is None else self.known_contents[index]
        return Split(self.images[index], self.labels[index], contents)

    @property
    def contents(self) -> Contents:
        """A hash of each image, uint64 (N,); computing it takes about 0.2 s for 60,000 images of 32x32 pixels."""
        return contents_of(self.images) if self.known_contents is None else self.known_contents


def contents_of(images: Pixels) -> Contents:
    """A hash of the pixels of each image, uint64 (N,): the first 8 bytes of BLAKE2b, little-endian."""
    digests = b"".join(hashlib.blake2b(np.ascontiguousarray(image).data, digest_size=8).digest() for image in images)
    return np.frombuffer(digests, dtype="<u8")


@dataclass(frozen=True)
class Source:
    """What a source holds, before anything is held out; `valid` and `test` are None where it has no such split.

    `signature` changes with the images; "" where they never do. `value_range` is that of the images with more than 8
    bits a channel, None where there are none.
    """

    train: Split
    valid: Split | None
    test: Split | None
    classes: tuple[str, ...]
    signature: str = ""
    value_range: ValueRange | None = None


@dataclass(frozen=True)
class ImageData:
    """What a run works on.

    `train` is optimized on, `valid` is looked at each epoch, `test` is scored once at the end (None where `valid` is
    the test split, or the source has none). `valid_is` says what `valid` is: "validation split", "test split" or
    "held out for validation". `mean` and `std` are of each channel, on a scale from 0 to 1. `signature` changes with
    the files of a folder of images; of the other sources, which never change, it is the name. `value_range` is that of
    images with more than 8 bits a channel, None where there are none.
    """

    train: Split
    valid: Split
    valid_is: str
    test: Split | None
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    signature: str
    value_range: ValueRange | None

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that there are, by name: train, valid, and test where it is another than valid."""
        return {"train": self.train, "valid": self.valid} | ({"test": self.test} if self.test is not None else {})


def channel_statistics(images: Pixels) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel over all pixels, on a scale from 0 to 1.

    From a histogram of the 256 levels, so that it is exact and a memory-mapped array is read once, in order. The
    standard deviation of a channel that has one level everywhere is exactly 0.
    """
    channels = images.shape[-1]
    counts = np.zeros((channels, 256), dtype=np.int64)
    for start in range(0, len(images), 1024):
        block = images[start : start + 1024]
        for channel in range(channels):
            counts[channel] += np.bincount(block[..., channel].ravel(), minlength=256)
    levels = np.arange(256) / 255
    share = counts / counts.sum(axis=1, keepdims=True)
    mean = share @ levels
    variance = np.maximum(share @ levels**2 - mean**2, 0)
    variance[(counts > 0).sum(axis=1) == 1] = 0  # where rounding leaves 1e-17
    return tuple(map(float, mean)), tuple(map(float, np.sqrt(variance)))


def resized(images: Pixels, image_size: int, channels: int) -> Pixels:
    """Square images brought to `image_size` and to 1 or 3 channels; the same array where nothing is to be done.

    Colour becomes grey as Pillow's "L" mode weighs it (ITU-R 601); the resize is bilinear with antialiasing.
    """
    if images.shape[-1] == 1 and channels == 3:
        images = np.repeat(images, 3, axis=-1)
    elif images.shape[-1] == 3 and channels == 1:
        grey = images @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
        images = np.rint(grey).astype(np.uint8)[..., None]
    if images.shape[1] == image_size:
        return images
    return _interpolated(images, image_size)


def _interpolated(images: Pixels, image_size: int) -> Pixels:
    import torch

    size = (image_size, image_size)
    result = np.empty((len(images), *size, images.shape[-1]), dtype=np.uint8)
    for start in range(0, len(images), 1024):
        block = torch.from_numpy(images[start : start + 1024]).permute(0, 3, 1, 2).float()
        bigger = torch.nn.functional.interpolate(block, size, mode="bilinear", antialias=True)
        result[start : start + 1024] = bigger.round().permute(0, 2, 3, 1).numpy()
    return result
