"""Resized crops and affine maps against torchvision's own, one image at a time."""

from collections.abc import Callable

import pytest
import torch
import torchvision.transforms.v2 as v2
from scipy.stats import ks_2samp
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from onecycle_cli.data.warping import RandomAffine, RandomResizedCrop

BILINEAR = v2.InterpolationMode.BILINEAR
DRAWS = 3000


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def theirs(transform: v2.Transform, names: list[str], size: int) -> Tensor:
    """The parameters of torchvision's transform, (DRAWS, names)."""
    torch.manual_seed(1)
    image = [torch.empty(3, size, size)]
    return torch.tensor([[params[name] for name in names] for params in map(transform.make_params, DRAWS * [image])])


def differing(ours: Tensor, expected: Tensor) -> float:
    """The share of values that differ; none may by more than one level."""
    assert (ours - expected.float()).abs().max() <= 1
    return (ours != expected).float().mean().item()


@pytest.mark.parametrize("channels", [1, 3])
def test_a_resized_crop_is_torchvisions_of_each_image(pictures: Callable[..., Tensor], channels: int) -> None:
    images = pictures(60, 31, channels)
    crop = RandomResizedCrop((0.08, 1.0), (0.75, 4 / 3))
    drawn = crop.draw(60, 31, seeded())
    ours = crop(images.float(), drawn.float())

    def expected(images: Tensor) -> Tensor:
        each = zip(images, drawn.int().tolist(), strict=True)
        return torch.stack([TF.resized_crop(image, *box, [31, 31], antialias=True).round() for image, box in each])

    assert differing(ours, expected(images.float())) < 0.01
    # Of uint8 images torchvision interpolates with fixed-point weights.
    assert 0 < differing(ours, expected(images)) < 0.3


@pytest.mark.parametrize(
    ("scale", "ratio"), [((0.08, 1.0), (0.75, 4 / 3)), ((0.9, 1.0), (0.5, 2.0)), ((0.4, 1.0), (1.5, 3.0))]
)
def test_crops_are_drawn_as_torchvision_draws_them(scale: tuple, ratio: tuple) -> None:
    ours = RandomResizedCrop(scale, ratio).draw(DRAWS, 32, seeded())
    drawn = theirs(v2.RandomResizedCrop(32, scale, ratio), ["top", "left", "height", "width"], 32)
    assert all(ks_2samp(mine, its).pvalue > 1e-3 for mine, its in zip(ours.T, drawn.T, strict=True))
    other = RandomResizedCrop((0.8 * scale[0], 0.8), ratio).draw(DRAWS, 32, seeded())
    assert ks_2samp(other[:, 2], drawn[:, 2]).pvalue < 1e-9  # the measure can tell


def test_a_crop_lies_within_the_image() -> None:
    top, left, height, width = RandomResizedCrop((0.01, 1.0), (0.1, 10.0)).draw(5000, 8, seeded()).unbind(1)
    assert min(top.min(), left.min()) == 0
    assert min(height.min(), width.min()) == 1
    assert max((top + height).max(), (left + width).max()) == 8


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (31, 3)])
def test_an_affine_map_is_torchvisions_of_each_image(pictures: Callable[..., Tensor], size: int, channels: int) -> None:
    images = pictures(60, size, channels)
    affine = RandomAffine(40, 0.2, (0.7, 1.4), 20)
    drawn = affine.draw(60, size, seeded())
    each = zip(images, drawn.tolist(), strict=True)
    expected = [TF.affine(image, a, [x, y], s, [shear, 0.0], BILINEAR, None) for image, (a, x, y, s, shear) in each]
    assert differing(affine(images.float(), drawn.float()), torch.stack(expected)) < 0.001


def test_with_degrees_alone_it_is_a_rotation(pictures: Callable[..., Tensor]) -> None:
    images = pictures(60, 16, 3)
    affine = RandomAffine(180, 0.0, (1.0, 1.0), 0.0)
    drawn = affine.draw(60, 16, seeded())
    each = zip(images, drawn[:, 0].tolist(), strict=True)
    expected = torch.stack([TF.rotate(image, -angle, BILINEAR) for image, angle in each])
    assert differing(affine(images.float(), drawn.float()), expected) < 0.001
    angles = theirs(v2.RandomRotation(180), ["angle"], 16)
    assert ks_2samp(drawn[:, 0], angles[:, 0]).pvalue > 1e-3


def test_affine_maps_are_drawn_as_torchvision_draws_them() -> None:
    ours = RandomAffine(30, 0.25, (0.8, 1.3), 10).draw(DRAWS, 32, seeded())
    torch.manual_seed(1)
    image = [torch.empty(3, 32, 32)]
    params = map(v2.RandomAffine(30, (0.25, 0.25), (0.8, 1.3), 10).make_params, DRAWS * [image])
    drawn = torch.tensor([(p["angle"], *p["translate"], p["scale"], p["shear"][0]) for p in params])
    assert all(ks_2samp(mine, its).pvalue > 1e-3 for mine, its in zip(ours.T, drawn.T, strict=True))
    assert set(ours[:, 1].tolist()) == set(drawn[:, 1].tolist()) == set(range(-8, 9))
    assert ks_2samp(RandomAffine(27, 0, (1, 1), 0).draw(DRAWS, 32, seeded())[:, 0], drawn[:, 0]).pvalue < 1e-3
