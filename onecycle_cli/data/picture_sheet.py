"""A sheet of small images: one PNG of equal tiles, from which a page can cut each."""

import math
from pathlib import Path

import numpy as np

from onecycle_cli.data.images import Pixels

LARGEST_TILE = 64
"""The largest side of a tile, in pixels; larger images are made smaller. 64 such tiles of photos take about 0.6 MB."""


def write_sheet(path: Path, images: Pixels, columns: int) -> None:
    """Writes images, uint8 (N, height, width, 1 or 3), as a PNG of tiles, `columns` in a row, from the top left."""
    from PIL import Image

    tiles = [Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image) for image in np.asarray(images)]
    scale = min(1.0, LARGEST_TILE / max(tiles[0].size))
    width, height = (max(1, round(scale * length)) for length in tiles[0].size)
    rows = math.ceil(len(tiles) / columns)
    sheet = Image.new(tiles[0].mode, (columns * width, rows * height))
    for number, tile in enumerate(tiles):
        row, column = divmod(number, columns)
        small = tile if scale == 1.0 else tile.resize((width, height), Image.Resampling.BILINEAR)
        sheet.paste(small, (column * width, row * height))
    sheet.save(path, format="PNG", optimize=True)
