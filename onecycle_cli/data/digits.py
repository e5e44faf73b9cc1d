"""scikit-learn's 1,797 handwritten digits of 8x8 pixels: real images that need no download."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from onecycle_cli.data.images import PixelSpec, Source, Split
from onecycle_cli.errors import need_room_for_scipy
from onecycle_cli.progress import Report

IMAGES = 1797
HIGHEST = 16
"""The largest value of a pixel in scikit-learn's data, which counts from 0 to 16."""


def read(settings: PixelSpec, report: Report) -> Source:  # noqa: ARG001  part of the interface
    """Reads the digits in the size of `settings`."""
    return read_digits().resized(settings)


def signature(settings: PixelSpec) -> str:  # noqa: ARG001  part of the interface
    """Returns the name of the source: its images never change."""
    return "digits"


def known_train_images(settings: PixelSpec) -> int:  # noqa: ARG001  part of the interface
    """Returns the number of digits; there is no other split."""
    return IMAGES


def inventory(settings: PixelSpec) -> None:  # noqa: ARG001  part of the interface
    """Returns None: the digits are a part of scikit-learn, so there is nothing to check."""
    return


def read_digits() -> Source:
    """Reads all digits as one training split of uint8 (1797, 8, 8, 1); a part must be held out for validation.

    `OSError` if there is no memory for the library that has them.
    """
    pixels, labels = _parsed()
    return Source(Split(pixels.copy(), labels.copy()), None, None, tuple("0123456789"), "digits")


@cache
def _parsed() -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    # Kept: scikit-learn parses a text file for it, which takes 25 ms, and a sweep reads it for each cell.
    need_room_for_scipy()
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    pixels = np.rint(images.reshape(-1, 8, 8, 1) * (255 / HIGHEST)).astype(np.uint8)
    return pixels, labels.astype(np.int64)
