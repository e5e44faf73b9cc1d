"""Decoding of one image to pixels with Pillow. Runs in worker processes, so it does not import torch."""

import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from onecycle_cli.data.images import ImageFormat, Pixels, ValueRange
from onecycle_cli.errors import is_of_machine, naming

Values = NDArray[Any]

Encoded = Path | bytes | Image.Image
"""An image before decoding: a file, the bytes of a file, or an image that Pillow has decoded."""

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


def decode(
    encoded: Encoded,
    image_size: int,
    channels: int,
    value_range: ValueRange | None = None,
    *,
    resize: str = "shorter_side",
    interpolation: str = "bilinear",
) -> Pixels:
    """Decodes an image to uint8 (image_size, image_size, channels); `ImageFormat` explains the last two arguments.

    EXIF rotation is applied, palettes become colours, and transparent pixels are laid on white. An image with more than
    8 bits per channel (modes I, I;16 and F of Pillow) is mapped linearly from `value_range` to 8 bits; values outside
    are clipped. `MoreThan8Bits` when `value_range` is None; all other errors are Pillow's.
    """
    with warnings.catch_warnings():
        # Nothing to do about a broken tag or an odd palette; an unreadable image raises an error.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # Pillow raises at twice as many pixels
        with _opened(encoded) as opened:
            values = deep_values(opened)
            if values is None:
                opened.draft("RGB" if channels == 3 else "L", (DRAFT * image_size, DRAFT * image_size))
                image: Image.Image = opened
            elif value_range is None:
                raise MoreThan8Bits(values)
            else:
                image = _with_8_bits(values, value_range)
                image.getexif().update(opened.getexif())
            upright = ImageOps.exif_transpose(image)
            if resize == "shorter_side":
                upright = _middle(upright)
            image = _plain(upright, "RGB" if channels == 3 else "L")
    image = _square(image, image_size, resize, Image.Resampling[interpolation.upper()])
    return np.asarray(image, dtype=np.uint8).reshape(image_size, image_size, channels)


def _opened(encoded: Encoded) -> Image.Image:
    if isinstance(encoded, Image.Image):
        return encoded
    if isinstance(encoded, Path):
        return Image.open(encoded, formats=_formats())
    if not encoded:
        raise ValueError("it is empty")
    try:
        return Image.open(io.BytesIO(encoded), formats=_formats())
    except UnidentifiedImageError:  # Pillow's message names the buffer
        raise ValueError("it is not an image of a known format") from None


def _square(image: Image.Image, side: int, resize: str, interpolation: Image.Resampling) -> Image.Image:
    """Makes an image a square of `side` pixels, as `ImageFormat.resize` says."""
    if resize == "squash":
        return image if image.size == (side, side) else image.resize((side, side), interpolation)
    if resize == "pad":
        scale = side / max(image.size)
        width, height = (min(side, max(1, round(length * scale))) for length in image.size)
        image = image if scale == 1 else image.resize((width, height), interpolation)
        padded = Image.new(image.mode, (side, side))  # black
        padded.paste(image, ((side - width) // 2, (side - height) // 2))
        return padded
    scale = side / min(image.size)
    if scale != 1:
        width, height = (max(side, round(length * scale)) for length in image.size)
        image = image.resize((width, height), interpolation)
    left, top = ((length - side) // 2 for length in image.size)
    return image.crop((left, top, left + side, top + side))


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
    """The result of decoding some images: how many were tried, which failed and why, and which have more than 8 bits.

    `unreadable` has the row and the reason of each failure. `deep` has the row and a sample of the values of each image
    that needs a `ValueRange` to be decoded.
    """

    tried: int
    unreadable: list[tuple[int, str]]
    deep: list[tuple[int, Values]]


def decode_into(
    file: Path, rows: Sequence[tuple[int, Encoded]], image_format: ImageFormat, value_range: ValueRange | None
) -> DecodedRows:
    """Decodes each image of `rows`, pairs of row number and image, into that row of the npy array in `file`.

    `OSError` if the system cannot read a file; it names it.
    """
    with naming(file):
        array = np.load(file, mmap_mode="r+")
    decoded = DecodedRows(len(rows), [], [])
    size, channels = image_format.image_size, image_format.channels
    how = {"resize": image_format.resize, "interpolation": image_format.interpolation}
    for row, encoded in rows:
        try:
            array[row] = decode(encoded, size, channels, value_range, **how)
        except MoreThan8Bits as deep:
            decoded.deep.append((row, deep.values))
        except Exception as error:  # Pillow's plugins also raise SyntaxError, struct.error and others
            if is_of_machine(error):
                with naming(encoded if isinstance(encoded, Path) else file):
                    raise
            decoded.unreadable.append((row, str(error) or type(error).__name__))
    return decoded
