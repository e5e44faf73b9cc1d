"""MixUp and CutMix against torchvision's own, with the same parameters and in distribution."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision.transforms.v2 as v2
from scipy.stats import binomtest, ks_2samp
from torch import Tensor

from onecycle_cli.data.mixing import Mixing

DRAWS = 2000
CLASSES = 4


def drawn(mixup: float, cutmix: float) -> Tensor:
    """The draws of many batches, (DRAWS, 6)."""
    generator = torch.Generator().manual_seed(0)
    return torch.cat([Mixing(mixup, cutmix).draw(1, 32, generator) for _ in range(DRAWS)])


def by_torchvision(images: Tensor, row: list[float], labels: Tensor) -> tuple[Tensor, Tensor]:
    """The images and soft labels of torchvision's transform with our parameters."""
    weight, top, left, height, width, share = row
    transform: Any = v2.MixUp(num_classes=CLASSES) if height == 0 else v2.CutMix(num_classes=CLASSES)
    box = tuple(map(int, (left, top, left + width, top + height)))
    params = {"labels": labels, "batch_size": len(labels), "lam": weight, "box": box, "lam_adjusted": share}
    return transform.transform(images, params), transform.transform(labels, params)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("mixup", "cutmix"), [(0.2, 0.0), (0.0, 1.0), (0.2, 1.0)])
def test_images_and_labels_are_mixed_as_by_torchvision(
    pictures: Callable[..., Tensor], channels: int, mixup: float, cutmix: float
) -> None:
    images, labels = pictures(6, 16, channels).float(), torch.tensor([0, 1, 2, 3, 1, 2])
    for seed in range(12):
        mixing = Mixing(mixup, cutmix)
        parameters = mixing.draw(6, 16, torch.Generator().manual_seed(seed)).float()
        assert (parameters == parameters[0]).all()
        expected, soft = by_torchvision(images, parameters[0].tolist(), labels)
        torch.testing.assert_close(mixing(images, parameters), expected)
        share, others = parameters[:, -1:], labels.roll(1, 0)
        one_hot = torch.nn.functional.one_hot
        torch.testing.assert_close(share * one_hot(labels, CLASSES) + (1 - share) * one_hot(others, CLASSES), soft)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_the_shares_of_mixup_are_drawn_as_torchvision_draws_them(alpha: float) -> None:
    torch.manual_seed(1)
    theirs = [v2.MixUp(alpha=alpha, num_classes=2).make_params([])["lam"] for _ in range(DRAWS)]
    assert ks_2samp(drawn(alpha, 0.0)[:, -1], theirs).pvalue > 1e-3
    assert ks_2samp(drawn(2 * alpha, 0.0)[:, -1], theirs).pvalue < 1e-3  # the measure can tell


@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_the_rectangles_of_cutmix_are_drawn_as_torchvision_draws_them(alpha: float) -> None:
    torch.manual_seed(1)
    cutmix, image = v2.CutMix(alpha=alpha, num_classes=2), [torch.empty(3, 32, 32)]
    params = [cutmix.make_params(image) for _ in range(DRAWS)]
    boxes = [(top, left, bottom - top, right - left) for left, top, right, bottom in (p["box"] for p in params)]
    theirs = torch.tensor([(*box, p["lam_adjusted"]) for box, p in zip(boxes, params, strict=True)])
    ours = drawn(0.0, alpha)[:, 1:]
    assert all(ks_2samp(mine, its).pvalue > 1e-3 for mine, its in zip(ours.T, theirs.T, strict=True))
    assert ks_2samp(drawn(0.0, 2 * alpha)[:, -1], theirs[:, -1]).pvalue < 1e-3


def test_with_both_each_batch_gets_one_of_them_equally_often() -> None:
    rows = drawn(1.0, 1.0)
    mixed, cut = rows[:, 0] < 1, rows[:, 3] > 0
    assert not (mixed & cut).any()
    assert binomtest(int(mixed.sum()), DRAWS, 0.5).pvalue > 1e-3
    assert ks_2samp(rows[mixed, -1], drawn(1.0, 0.0)[:, -1]).pvalue > 1e-3
