"""One image file to pixels, in whatever format Pillow reads. Runs in processes of its own, so it imports no torch."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from onecycle_cli.data.images import Pixels

DRAFT = 2
"""JPEG is decoded at the smallest scale that is still this many times the size wanted; the resize does the rest."""


def decode(path: Path, image_size: int, channels: int) -> Pixels:
    """The image as uint8 (image_size, image_size, channels): shorter side resized, then the centre.

    EXIF rotation is applied; palettes become colours; what is transparent lies on white; 16-bit grey keeps its upper
    8 bits. Raises whatever Pillow raises.
    """
    with warnings.catch_warnings():
        # A broken tag or an odd palette is no news to the person; what cannot be read at all raises.
        warnings.simplefilter("ignore", UserWarning)
        with Image.open(path) as opened:
            opened.draft("RGB" if channels == 3 else "L", (DRAFT * image_size, DRAFT * image_size))
            image = _plain(ImageOps.exif_transpose(opened), "RGB" if channels == 3 else "L")
    scale = image_size / min(image.size)
    if scale != 1:
        width, height = (max(image_size, round(side * scale)) for side in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = ((side - image_size) // 2 for side in image.size)
    image = image.crop((left, top, left + image_size, top + image_size))
    return np.asarray(image, dtype=np.uint8).reshape(image_size, image_size, channels)


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
