"""Crops and flips against torchvision's own, one image at a time."""

from collections import Counter

import pytest
import torch
import torchvision.transforms.v2 as transforms
from torch import Tensor

from onecycle_cli.data.augmentation import Augmentation, Draws, augmented, draw

PADDING = 2
SIZE = 6
PLACES = 2 * PADDING + 1


def images(number: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, 256, (number, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)


def by_torchvision(image: Tensor, top: int, left: int, flip: bool, mode: str) -> Tensor:
    padded = transforms.functional.pad(image.permute(2, 0, 1), PADDING, padding_mode=mode)
    cropped = transforms.functional.crop(padded, top, left, SIZE, SIZE)
    return (transforms.functional.horizontal_flip(cropped) if flip else cropped).permute(1, 2, 0)


@pytest.mark.parametrize(("ours", "theirs"), [("reflect", "reflect"), ("zeros", "constant")])
def test_every_crop_and_flip_is_torchvisions(ours: str, theirs: str) -> None:
    every = [(top, left, flip) for top in range(PLACES) for left in range(PLACES) for flip in (False, True)]
    tops, lefts, flips = (torch.tensor(column) for column in zip(*every, strict=True))
    index = torch.randperm(len(every), generator=torch.Generator().manual_seed(1))
    augmentation = Augmentation(horizontal_flip=True, random_crop=True, padding=PADDING, padding_mode=ours)
    got = augmented(images(len(every))[index], Draws(tops, lefts, flips), augmentation)
    expected = [by_torchvision(images(len(every))[i], *what, theirs) for i, what in zip(index, every, strict=True)]
    assert torch.equal(got, torch.stack(expected))


def outcomes(results: Tensor) -> Counter[bytes]:
    return Counter(result.numpy().tobytes() for result in results)


def chi_square(one: Counter[bytes], other: Counter[bytes]) -> float:
    """The two-sample statistic, for samples of equal size."""
    return sum((one[key] - other[key]) ** 2 / (one[key] + other[key]) for key in one | other)


def test_the_distribution_is_that_of_torchvisions_transforms() -> None:
    tries = 5000
    image = images(1)
    theirs = transforms.Compose(
        [transforms.RandomCrop(SIZE, padding=PADDING, padding_mode="reflect"), transforms.RandomHorizontalFlip()]
    )
    torch.manual_seed(0)
    expected = outcomes(torch.stack([theirs(image[0].permute(2, 0, 1)).permute(1, 2, 0) for _ in range(tries)]))

    def ours(augmentation: Augmentation) -> Counter[bytes]:
        drawn = draw(tries, augmentation, torch.Generator().manual_seed(1))
        return outcomes(augmented(image.expand(tries, -1, -1, -1), drawn, augmentation))

    # 50 outcomes, 49 degrees of freedom: above 85.35 once in a thousand times.
    assert len(expected) == 2 * PLACES**2
    assert chi_square(ours(Augmentation(horizontal_flip=True, random_crop=True, padding=PADDING)), expected) < 85.35
    # The measure can tell: crops without flips, and flips without crops, are far off.
    assert chi_square(ours(Augmentation(random_crop=True, padding=PADDING)), expected) > 1000
    assert chi_square(ours(Augmentation(horizontal_flip=True, padding=PADDING)), expected) > 1000


@pytest.mark.parametrize("flip", [False, True])
def test_without_a_crop_the_image_stays_whole(flip: bool) -> None:
    augmentation = Augmentation(horizontal_flip=flip, random_crop=False, padding=PADDING)
    drawn = draw(40, augmentation, torch.Generator().manual_seed(0))
    got = augmented(images(40), drawn, augmentation)
    same = (got == images(40)).all((1, 2, 3))
    mirrored = (got == images(40).flip(2)).all((1, 2, 3))
    assert (same | mirrored).all()
    assert bool(mirrored.any()) is flip
    assert bool(same.any())


def test_without_a_flip_no_image_is_mirrored() -> None:
    assert not draw(1000, Augmentation(random_crop=True, padding=1), torch.Generator().manual_seed(0)).flip.any()
