"""TrivialAugment against torchvision's own, one image at a time."""

from collections.abc import Callable

import pytest
import torch
import torchvision.transforms.v2 as v2
from scipy.stats import chi2_contingency
from torch import Tensor

from onecycle_cli.data.trivial_augment import NAMES, TrivialAugment

THEIRS = v2.TrivialAugmentWide(interpolation=v2.InterpolationMode.BILINEAR)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def in_their_units(name: str, strength: float) -> float:
    """torchvision counts the bits that posterizing keeps, and the threshold of solarizing from 0 to 1."""
    if name == "Posterize":
        return 8 - (int(strength).bit_length() - 1)
    return strength / 255 if name == "Solarize" else strength


def by_torchvision(image: Tensor, name: str, strength: float) -> Tensor:
    magnitude = in_their_units(name, strength)
    return THEIRS._apply_image_or_video_transform(image, name, magnitude, THEIRS.interpolation, THEIRS._fill)


def test_the_changes_are_torchvisions() -> None:
    assert list(NAMES) == list(v2.TrivialAugmentWide._AUGMENTATION_SPACE)


@pytest.mark.parametrize(("size", "channels"), [(33, 3), (16, 1)])
def test_each_change_is_torchvisions_of_each_image(pictures: Callable[..., Tensor], size: int, channels: int) -> None:
    images = pictures(1400, size, channels)
    images[3], images[5, :, 4:] = 7, 200  # of one level; of few levels
    drawn = TrivialAugment().draw(1400, size, seeded())
    ours = TrivialAugment()(images.float(), drawn)
    for number, name in enumerate(NAMES):
        chosen = (drawn[:, 0] == number).nonzero()[:, 0][:60]
        each = zip(images[chosen], drawn[chosen, 1].tolist(), strict=True)
        expected = torch.stack([by_torchvision(image, name, strength) for image, strength in each])
        away = (ours[chosen] - expected.float()).abs()
        assert away.max() <= 1, name
        assert (away > 0).float().mean() < 0.002, name
        unchanging = name == "Identity" or (name == "Color" and channels == 1)
        assert (expected != images[chosen]).any() != unchanging, name


def test_images_of_one_level_and_of_few_are_stretched_and_equalized_as_by_torchvision(
    pictures: Callable[..., Tensor],
) -> None:
    images = pictures(6, 16, 3)
    images[0], images[1] = 0, 255
    images[2, :, :, :8] = 9
    images[3] = (images[3] > 128) * 255
    images[4] = images[4] // 4 + 30
    for name in ("AutoContrast", "Equalize", "Contrast", "Sharpness"):
        drawn = torch.tensor([[NAMES.index(name), 0.5 if name in ("Contrast", "Sharpness") else 0.0]]).expand(6, 2)
        ours = TrivialAugment()(images.float(), drawn)
        expected = torch.stack([by_torchvision(image, name, drawn[0, 1].item()) for image in images])
        assert (ours - expected.float()).abs().max() <= (name in ("Contrast", "Sharpness")), name


def test_changes_and_strengths_are_drawn_as_torchvision_draws_them(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 8000
    seen: list[tuple[str, float]] = []

    def noted(image: Tensor, name: str, magnitude: float, **_: object) -> Tensor:
        seen.append((name, magnitude))
        return image

    monkeypatch.setattr(THEIRS, "_apply_image_or_video_transform", noted)
    torch.manual_seed(1)
    image = torch.zeros(3, 8, 8, dtype=torch.uint8)
    for _ in range(tries):
        THEIRS(image)
    rows = TrivialAugment().draw(tries, 8, seeded()).tolist()
    ours = [(NAMES[int(change)], in_their_units(NAMES[int(change)], strength)) for change, strength in rows]

    def counted(draws: list[tuple[str, float]], *, bins: int) -> dict[tuple[str, int], int]:
        found: dict[tuple[str, int], int] = {}
        for name, strength in draws:
            largest = (
                135 if name == "Rotate" else 33 if name.startswith("Trans") else 9 if name == "Posterize" else 1.01
            )
            whole = int(strength) if name.startswith("Trans") else strength
            key = name, int((whole / largest + 1) * bins)
            found[key] = found.get(key, 0) + 1
        return found

    one, other = counted(ours, bins=4), counted(seen, bins=4)
    assert one.keys() == other.keys()
    table = [[counts[key] for key in one] for counts in (one, other)]
    assert chi2_contingency(table).pvalue > 1e-3
    # The measure can tell: half of the images unchanged.
    changed = counted([("Identity", 0.0) if number % 2 else draw for number, draw in enumerate(ours)], bins=4)
    assert chi2_contingency([[changed[key] for key in one], table[1]]).pvalue < 1e-9


def test_every_strength_is_one_of_torchvisions() -> None:
    rows = TrivialAugment().draw(60_000, 8, seeded())
    space = v2.TrivialAugmentWide._AUGMENTATION_SPACE
    for number, name in enumerate(NAMES):
        magnitudes, signed = space[name][0](31, 8, 8), space[name][1]
        ours = {in_their_units(name, strength) for strength in rows[rows[:, 0] == number, 1].tolist()}
        theirs = {0.0} if magnitudes is None else {float(magnitude) for magnitude in magnitudes}
        theirs = {float(int(one)) for one in theirs} if name.startswith("Trans") else theirs
        theirs |= {-one for one in theirs} if signed else set()
        assert sorted(ours) == pytest.approx(sorted(theirs)), name
