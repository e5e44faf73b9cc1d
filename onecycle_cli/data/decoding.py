"""One image file to pixels, in whatever format Pillow reads. Runs in processes of its own, so it imports no torch."""

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
"""JPEG is decoded at the smallest scale that is still this many times the size wanted; the resize does the rest."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF", "MPO", "TGA", "ICO", "PCX")
"""Those that hold pixels alone, whatever a file is called: Pillow has PostScript run by Ghostscript, as a program."""

LONGEST = 8
"""Times the shorter side that a longer one may have in the resize; few images have as many."""


TAIL = 0.001
"""The share of the values on each side that a `ValueRange` leaves out: one hot pixel must not take the contrast."""

SAMPLED = 1024
"""Values of each image that a `ValueRange` is computed from."""


class MoreThan8Bits(ValueError):
    """An image with more than 8 bits a channel was decoded without a `ValueRange`; `values` is a sample of its own."""

    def __init__(self, values: Values) -> None:
        super().__init__("it has more than 8 bits a channel, and there is no range of values from the training images")
        self.values = sampled(values)

    def __reduce__(self) -> tuple[type["MoreThan8Bits"], tuple[Values]]:
        return MoreThan8Bits, (self.values,)


def decode(path: Path, image_size: int, channels: int, value_range: ValueRange | None = None) -> Pixels:
    """The image as uint8 (image_size, image_size, channels): shorter side resized, then the centre.

    EXIF rotation is applied, palettes become colours, and what is transparent lies on white. An image with more than 8
    bits (modes I, I;16 and F of Pillow) is mapped to 8 by `value_range`, linearly, and clipped outside of it. Raises
    `MoreThan8Bits` where that is None, and else whatever Pillow raises.
    """
    with warnings.catch_warnings():
        # A broken tag or an odd palette is no news to the person; what cannot be read at all raises.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # twice as many pixels are an error
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
    """The values of an image with one channel of more than 8 bits, (height, width); None where it has 8 or fewer.

    ValueError where several channels have 16 bits, of which Pillow keeps 8, and where some values are not finite.
    """
    kinds = [_kind(tile.args) for tile in getattr(opened, "tile", [])]
    if not (opened.mode.startswith("I") or opened.mode == "F"):
        if any(";16" in kind for kind in kinds):
            raise ValueError("it has 16 bits in each of several channels, of which only 8 can be read: save it with 8")
        return None
    values: Values = np.asarray(opened)
    if any(kind == "I;32N" for kind in kinds):  # Pillow has unsigned integers of 32 bits as signed ones
        values = values.view(np.uint32)
    if not np.isfinite(values).all():
        raise ValueError("it holds values that are not finite")
    return values


def _kind(arguments: Any) -> str:
    """How Pillow names the layout of raw pixels in the arguments of a decoder, such as "RGB;16B"; it comes first."""
    first = arguments[0] if isinstance(arguments, tuple) and arguments else arguments
    return first if isinstance(first, str) else ""


def sampled(values: Values) -> Values:
    """Some of the values, float64: all up to 1,024, else so many drawn evenly, the same for images of the same size."""
    flat = values.ravel()
    if flat.size > SAMPLED:
        flat = flat[np.random.default_rng(flat.size).integers(flat.size, size=SAMPLED)]
    return flat.astype(np.float64)


def value_range_of(samples: Sequence[Values]) -> ValueRange:
    """The range that keeps the contrast of all images that the samples are of: their 0.1 % and 99.9 % quantiles.

    Where those are equal, the least and the greatest value; where these are equal too, that value becomes 0.
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
    """The endings of the formats that are read, in lower case, with their dot."""
    formats = _formats()
    return frozenset(ending for ending, name in Image.registered_extensions().items() if name in formats)


def _formats() -> list[str]:
    """Those of `FORMATS` that this Pillow was built with."""
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _middle(image: Image.Image) -> Image.Image:
    """The image without most of what will be cut off: resized whole, a line of 65,000x1 pixels would take 200 GB."""
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
    """What became of some files: how many were tried, which cannot be read and why, and which have more than 8 bits.

    `deep` holds the row, the path and a sample of the values of each image that wants a `ValueRange` to be decoded.
    """

    tried: int
    unreadable: list[tuple[Path, str]]
    deep: list[tuple[int, Path, Values]]


def decode_into(
    file: Path, rows: Sequence[tuple[int, Path]], image_size: int, channels: int, value_range: ValueRange | None
) -> DecodedRows:
    """Decodes images into rows of the npy array in `file`, each into the row that stands beside its path."""
    array = np.load(file, mmap_mode="r+")
    decoded = DecodedRows(len(rows), [], [])
    for row, path in rows:
        try:
            array[row] = decode(path, image_size, channels, value_range)
        except MoreThan8Bits as deep:
            decoded.deep.append((row, path, deep.values))
        except Exception as error:  # Pillow's plugins raise anything: OSError, SyntaxError, ValueError, struct.error
            decoded.unreadable.append((path, str(error) or type(error).__name__))
    return decoded
