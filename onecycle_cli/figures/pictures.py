"""Pictures of images, with a caption under each."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from onecycle_cli.figures.page import new_page

COLUMNS = 8
"""The largest number of images in a row."""

LONGEST_LINE = 22
"""The longest line of a caption, in characters; longer ones would run into the next image."""


def plot_images(path: Path, *, title: str, images: NDArray[np.uint8], captions: Sequence[Sequence[str]]) -> str:
    """Draws images, uint8 (N, height, width, 1 or 3), in rows; `captions` has the lines under each image.

    Pixels are drawn as squares. Returns the characters that no font has, which are drawn as escapes.
    """
    columns = min(COLUMNS, len(images))
    rows = math.ceil(len(images) / columns)
    lines = max(map(len, captions))
    with new_page(path, max(1.5 * columns, 4.5), (1.4 + 0.17 * lines) * rows + 0.6) as page:
        for axes in page.figure.subplots(rows, columns, squeeze=False).flat:
            axes.axis("off")
        for axes, image, caption in zip(page.figure.axes, images, captions, strict=False):
            axes.imshow(np.broadcast_to(image, (*image.shape[:2], 3)), interpolation="nearest")
            text = "\n".join(page.text(line, LONGEST_LINE) for line in caption)
            axes.text(0.5, -0.04, text, transform=axes.transAxes, ha="center", va="top", fontsize=8)
        page.figure.suptitle(page.text(title))
    return page.missing
