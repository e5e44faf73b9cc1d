"""Random erasing against torchvision's own, one image at a time."""

from collections.abc import Callable

import pytest
import torch
import torchvision.transforms.v2 as v2
from scipy.stats import binomtest, ks_2samp
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from onecycle_cli.data.erasing import RandomErasing

DRAWS = 3000


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_erased_is_what_torchvision_erases(pictures: Callable[..., Tensor], channels: int) -> None:
    images = pictures(60, 16, channels).float() + 1
    erasing = RandomErasing(0.7, (0.02, 0.5), (0.3, 3.3))
    drawn = erasing.draw(60, 16, seeded())
    each = zip(images, drawn.int().tolist(), strict=True)
    expected = torch.stack([TF.erase(image, *box, torch.zeros(1, 1, 1)) for image, box in each])
    ours = erasing(images, drawn.float())
    assert torch.equal(ours, expected)
    untouched = (ours == images).all(dim=(1, 2, 3))
    assert 0 < untouched.sum() < 60


@pytest.mark.parametrize(("scale", "ratio"), [((0.02, 0.33), (0.3, 3.3)), ((0.6, 1.0), (0.2, 5.0))])
def test_rectangles_are_drawn_as_torchvision_draws_them(scale: tuple, ratio: tuple) -> None:
    torch.manual_seed(1)
    image = [torch.empty(3, 32, 32)]
    params = map(v2.RandomErasing(1.0, scale, ratio).make_params, DRAWS * [image])
    # Without `v`, no attempt fitted into the image, and nothing is erased.
    theirs = torch.tensor([[p[name] if p["v"] is not None else 0 for name in "ijhw"] for p in params])
    ours = RandomErasing(1.0, scale, ratio).draw(DRAWS, 32, seeded())
    assert all(ks_2samp(mine, its).pvalue > 1e-3 for mine, its in zip(ours.T, theirs.T, strict=True))
    other = RandomErasing(1.0, (scale[0], 0.8 * scale[1]), ratio).draw(DRAWS, 32, seeded())
    assert ks_2samp(other[:, 2], theirs[:, 2]).pvalue < 1e-3  # the measure can tell


def test_as_many_images_are_erased_as_asked_for() -> None:
    drawn = RandomErasing(0.25, (0.1, 0.3), (0.5, 2.0)).draw(DRAWS, 32, seeded())
    assert binomtest(int((drawn[:, 2] > 0).sum()), DRAWS, 0.25).pvalue > 1e-3
    assert not RandomErasing(0.0, (0.1, 0.3), (0.5, 2.0)).draw(DRAWS, 32, seeded()).any()
