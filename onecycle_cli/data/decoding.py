"""One image file to pixels, in whatever format Pillow reads. Runs in processes of its own, so it imports no torch."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from onecycle_cli.data.images import Pixels

DRAFT = 2
"""JPEG is decoded at the smallest scale that is still this many times the size wanted; the resize does the rest."""

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF", "MPO", "TGA", "ICO", "PCX")
"""Those that hold pixels alone, whatever a file is called: Pillow has PostScript run by Ghostscript, as a program."""

LONGEST = 8
"""Times the shorter side that a longer one may have in the resize; few images have as many."""


def decode(path: Path, image_size: int, channels: int) -> Pixels:
    """The image as uint8 (image_size, image_size, channels): shorter side resized, then the centre.

    EXIF rotation is applied; palettes become colours; what is transparent lies on white; 16-bit grey keeps its upper
    8 bits. Raises whatever Pillow raises.
    """
    with warnings.catch_warnings():
        # A broken tag or an odd palette is no news to the person; what cannot be read at all raises.
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # twice as many pixels are an error
        with Image.open(path, formats=_formats()) as opened:
            opened.draft("RGB" if channels == 3 else "L", (DRAFT * image_size, DRAFT * image_size))
            image = _plain(_middle(ImageOps.exif_transpose(opened)), "RGB" if channels == 3 else "L")
    scale = image_size / min(image.size)
    if scale != 1:
        width, height = (max(image_size, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = ((side - image_size) // 2 for side in image.size)
    image = image.crop((left, top, left + image_size, top + image_size))
    return np.asarray(image, dtype=np.uint8).reshape(image_size, image_size, channels)


def may_be_image(path: Path) -> bool:
    """Whether the ending is that of a format which is read."""
    formats = _formats()
    return Image.registered_extensions().get(path.suffix.lower()) in formats


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
    if image.mode.startswith("I;16") or image.mode == "I":
        # Pillow's own conversion to 8 bits clips instead of scaling.
        return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)).convert(mode)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert(mode)


def decode_into(
    file: Path, first: int, paths: Sequence[Path], image_size: int, channels: int
) -> tuple[int, list[tuple[Path, str]]]:
    """Decodes `paths` into rows `first`, `first + 1`, ... of the npy array in `file`.

    Returns how many files were tried, and those that could not be read, each with the reason.
    """
    rows = np.load(file, mmap_mode="r+")
    unreadable = []
    for row, path in enumerate(paths, start=first):
        try:
            rows[row] = decode(path, image_size, channels)
        except Exception as error:  # Pillow's plugins raise anything: OSError, SyntaxError, ValueError, struct.error
            unreadable.append((path, str(error) or type(error).__name__))
    return len(paths), unreadable
