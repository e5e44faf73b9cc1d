"""What the tests of several sources of images start from."""

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

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


@pytest.fixture
def pictures() -> Callable[..., Tensor]:
    """Makes uint8 images (B, channels, size, size), every other one noise or smooth: `pictures(60, 16, channels=3)`."""

    def make(images: int, size: int, channels: int) -> Tensor:
        generator = torch.Generator().manual_seed(0)
        noise = torch.randint(0, 256, (images, channels, size, size), dtype=torch.uint8, generator=generator)
        coarse = 255 * torch.rand(images, channels, 4, 4, generator=generator)
        smooth = torch.nn.functional.interpolate(coarse, size, mode="bicubic").clamp(0, 255).to(torch.uint8)
        return torch.where(torch.arange(images)[:, None, None, None] % 2 == 0, noise, smooth)

    return make
