"""Images that random transforms are compared on."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor


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
