"""Random colours against torchvision's own, one image at a time."""

from collections import Counter
from collections.abc import Callable

import pytest
import torch
import torchvision.transforms.v2 as v2
from scipy.stats import chisquare, ks_2samp
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from onecycle_cli.data.color import ColorJitter, hue_shifted

CHANGES = (TF.adjust_brightness, TF.adjust_contrast, TF.adjust_saturation, TF.adjust_hue)
HUE = 3
DRAWS = 4000


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def in_order(row: list[float]) -> list[tuple[int, float]]:
    """The changes of an image in their order, each with its factor."""
    changes = [(int(kind), factor) for kind, factor in zip(row[:3], row[3:6], strict=True)]
    changes.insert(int(row[6]), (HUE, row[7]))
    return changes


def by_torchvision(image: Tensor, row: list[float], *, hue: bool) -> Tensor:
    for kind, factor in in_order(row):
        image = CHANGES[kind](image, factor) if hue or kind != HUE else image
    return image


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("hue", [0.0, 0.2])
def test_the_colours_are_torchvisions_of_each_image(pictures: Callable[..., Tensor], channels: int, hue: float) -> None:
    images = pictures(120, 16, channels)
    jitter = ColorJitter(0.4, 0.5, 0.6, hue)
    drawn = jitter.draw(120, 16, seeded())
    ours = jitter(images.float(), drawn.float())
    each = zip(images, drawn.tolist(), strict=True)
    expected = torch.stack([by_torchvision(image, row, hue=hue > 0) for image, row in each])
    # A level more or less where a value is cut off; a later change of hue or contrast can make two or three of it.
    away = (ours - expected.float()).abs()
    assert away.max() <= 3
    assert (away > 0).float().mean() < 0.005
    assert (ours != images).float().mean() > 0.5


def test_the_hue_is_torchvisions_all_around_the_circle(pictures: Callable[..., Tensor]) -> None:
    images = pictures(40, 16, 3)
    images[0, :, :8] = torch.tensor([[255, 0, 0]], dtype=torch.uint8).T[..., None]
    for shift in (-0.5, -0.3, -1 / 6, 0.0, 0.01, 1 / 3, 0.5):
        ours = hue_shifted(images.float(), torch.full((40, 1, 1, 1), shift))
        away = (ours - TF.adjust_hue(images, shift).float()).abs()
        assert away.max() <= 1
        assert (away > 0).float().mean() < 0.001


def test_grey_images_have_no_saturation_and_no_hue(pictures: Callable[..., Tensor]) -> None:
    images = pictures(20, 16, 1).float()
    jitter = ColorJitter(0.0, 0.0, 0.9, 0.5)
    assert torch.equal(jitter(images, jitter.draw(20, 16, seeded()).float()), images)


def test_factors_and_their_order_are_drawn_as_torchvision_draws_them() -> None:
    torch.manual_seed(1)
    jitter = v2.ColorJitter(0.4, 1.5, 0.6, 0.2)  # contrast from 0, not from -0.5
    params = [jitter.make_params([]) for _ in range(DRAWS)]
    rows = [dict(in_order(row)) for row in ColorJitter(0.4, 1.5, 0.6, 0.2).draw(DRAWS, 8, seeded()).tolist()]
    for kind, name in enumerate(("brightness", "contrast", "saturation", "hue")):
        ours, theirs = [row[kind] for row in rows], [one[f"{name}_factor"] for one in params]
        assert ks_2samp(ours, theirs).pvalue > 1e-3
        assert ks_2samp([1.1 * factor for factor in ours], theirs).pvalue < 1e-3
    orders = Counter(tuple(row) for row in rows)
    assert orders.keys() == {tuple(one["fn_idx"].tolist()) for one in params}
    assert len(orders) == 24
    assert chisquare(list(orders.values())).pvalue > 1e-3


def test_what_is_not_asked_for_does_not_change() -> None:
    rows = [dict(in_order(row)) for row in ColorJitter(0.0, 0.0, 0.5, 0.0).draw(50, 8, seeded()).tolist()]
    assert {row[0] for row in rows} == {row[1] for row in rows} == {1}
    assert {row[HUE] for row in rows} == {0}
