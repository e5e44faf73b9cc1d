"""Decoding of one image file to pixels with Pillow. Runs in worker processes, so it does not import torch."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from onecycle_cli.data.images import Pixels, ValueRange

Values = NDArray[Any]

DRAFT = 2
"""The least size of a decoded JPEG in multiples of the requested size; the smallest such JPEG scale is decoded."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF", "MPO", "TGA", "ICO", "PCX")
"""The formats that may be opened, by content: pixels only. For PostScript, Pillow would run Ghostscript."""

LONGEST = 8
"""The largest ratio of the longer to the shorter side before a resize; few images exceed it."""

TAIL = 0.001
"""The share of values that a `ValueRange` ignores at each end, so that a hot pixel does not spoil the contrast."""

SAMPLED = 1024
"""The number of values sampled from each image to compute a `ValueRange`."""


class MoreThan8Bits(ValueError):
    """An image with more than 8 bits per channel needs a `ValueRange` to be decoded; `values` is a sample of it."""

    def __init__(self, values: Values) -> None:
        super().__init__("it has more than 8 bits per channel, but there is no range of values of the training images")
        self.values = sampled(values)

    def __reduce__(self) -> tuple[type["MoreThan8Bits"], tuple[Values]]:
        return MoreThan8Bits, (self.values,)


def decode(path: Path, image_size: int, channels: int, value_range: ValueRange | None = None) -> Pixels:
    """Decodes an image to uint8 (image_size, image_size, channels): resizes the shorter side, then crops the centre.

    EXIF rotation is applied, palettes become colours, and transparent pixels are laid on white. An image with more than
    8 bits per channel (modes I, I;16 and F of Pillow) is mapped linearly from `value_range` to 8 bits; values outside
    are clipped. `MoreThan8Bits` when `value_range` is None; all other errors are Pillow's.
    """
    with warnings.catch_warnings():
        # Nothing to do about a broken tag or an odd palette; an unreadable image raises an error.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # Pillow raises at twice as many pixels
        with Image.open(path, formats=_formats()) as opened:
            values = deep_values(opened)
            if values is None:
                opened.draft("RGB" if channels == 3 else "L", (DRAFT * image_size, DRAFT * image_size))
                image: Image.Image = opened
            elif value_range is None:
                raise MoreThan8Bits(values)
            else:
                image = _with_8_bits(values, value_range)
                image.getexif().update(opened.getexif())
            image = _plain(_middle(ImageOps.exif_transpose(image)), "RGB" if channels == 3 else "L")
    scale = image_size / min(image.size)
    if scale != 1:
        width, height = (max(image_size, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = ((side - image_size) // 2 for side in image.size)
    image = image.crop((left, top, left + image_size, top + image_size))
    return np.asarray(image, dtype=np.uint8).reshape(image_size, image_size, channels)


def deep_values(opened: Image.Image) -> Values | None:
    """Returns the values of an image whose one channel has more than 8 bits, (height, width); None for 8 or fewer.

    ValueError when several channels have 16 bits, of which Pillow keeps 8, or when a value is not finite.
    """
    kinds = [_kind(tile.args) for tile in getattr(opened, "tile", [])]
    if not (opened.mode.startswith("I") or opened.mode == "F"):
        if any(";16" in kind for kind in kinds):
            raise ValueError("it has several channels of 16 bits, of which only 8 can be read: save it with 8 bits")
        return None
    values: Values = np.asarray(opened)
    if any(kind == "I;32N" for kind in kinds):  # Pillow reads unsigned 32-bit integers as signed
        values = values.view(np.uint32)
    if not np.isfinite(values).all():
        raise ValueError("it has values that are not finite")
    return values


def _kind(arguments: Any) -> str:
    """Returns Pillow's name for the raw pixel layout, such as "RGB;16B": the first argument of a decoder."""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def sampled(values: Values) -> Values:
    """Samples values as float64: all if at most 1,024, else 1,024 drawn uniformly, the same for images of one size."""
    flat = values.ravel()
    if flat.size > SAMPLED:
        flat = flat[np.random.default_rng(flat.size).integers(flat.size, size=SAMPLED)]
    return flat.astype(np.float64)


def value_range_of(samples: Sequence[Values]) -> ValueRange:
    """Returns the 0.1 % and 99.9 % quantiles of all samples: a range that keeps the contrast of the images.

    If the quantiles are equal, returns the least and the greatest value. If these are equal too, the range starts there
    and has the length 1, so that this value becomes 0.
    """
    values = np.concatenate(samples)
    low, high = (float(value) for value in np.quantile(values, [TAIL, 1 - TAIL]))
    if low == high:
        low, high = float(values.min()), float(values.max())
    return (low, high) if low < high else (low, low + 1)


def _with_8_bits(values: Values, value_range: ValueRange) -> Image.Image:
    low, high = value_range
    levels = np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) * 255
    return Image.fromarray(np.rint(levels).astype(np.uint8))


def image_endings() -> frozenset[str]:
    """Returns the file name endings of all supported formats, in lower case, with the dot."""
    formats = _formats()
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in formats)


def _formats() -> list[str]:
    """Returns the `FORMATS` that this build of Pillow supports."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _middle(image: Image.Image) -> Image.Image:
    """Crops the centre before the resize: without this, resizing an image of 65,000x1 pixels would take 200 GB."""
    side, (width, height) = LONGEST * min(image.size), image.size
    if max(width, height) <= side:
        return image
    left, top = (max(0, whole - side) // 2 for whole in (width, height))
    return image.crop((left, top, min(width, left + side), min(height, top + side)))


def _plain(image: Image.Image, mode: str) -> Image.Image:
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert(mode)


@dataclass(frozen=True)
class DecodedRows:
    """The result of decoding some files: how many were tried, which failed and why, and which have more than 8 bits.

    `unreadable` has the path and the reason of each failure. `deep` has the row, the path and a sample of the values of
    each image that needs a `ValueRange` to be decoded.
    """

    tried: int
    unreadable: list[tuple[Path, str]]
    deep: list[tuple[int, Path, Values]]


def decode_into(
    file: Path, rows: Sequence[tuple[int, Path]], image_size: int, channels: int, value_range: ValueRange | None
) -> DecodedRows:
    """Decodes each image of `rows`, pairs of row number and path, into that row of the npy array in `file`."""
    array = np.load(file, mmap_mode="r+")
    decoded = DecodedRows(len(rows), [], [])
    for row, path in rows:
        try:
            array[row] = decode(path, image_size, channels, value_range)
        except MoreThan8Bits as deep:
            decoded.deep.append((row, path, deep.values))
        except Exception as error:  # Pillow's plugins also raise SyntaxError, struct.error and others
            decoded.unreadable.append((path, str(error) or type(error).__name__))
    return decoded
