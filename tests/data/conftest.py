"""What the tests of several sources of images start from."""

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

PLAIN: dict[str, Any] = {
    "image_size": 8,
    "channels": 3,
    "resize": "shorter_side",
    "interpolation": "bilinear",
    "path_column": None,
    "image_column": None,
    "label_column": None,
    "split_column": None,
    "variant": None,
}


@pytest.fixture
def settings() -> Callable[..., Any]:
    """The settings of a source, as a recipe's section has them: `settings(path="photos.csv")`."""
    return lambda **values: SimpleNamespace(
        **(PLAIN | {name: str(value) if isinstance(value, Path) else value for name, value in values.items()})
    )


@pytest.fixture
def png() -> Callable[[int], bytes]:
    """The bytes of a PNG of 8x8 pixels of one grey level."""

    def made(level: int) -> bytes:
        file = io.BytesIO()
        Image.fromarray(np.full((8, 8, 3), level, np.uint8)).save(file, "PNG")
        return file.getvalue()

    return made
