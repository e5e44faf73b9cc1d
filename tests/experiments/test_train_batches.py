"""Training batches as a recipe describes them, and whole runs with them."""

from collections import Counter
from collections.abc import Callable
from itertools import islice

import numpy as np
import pytest
import torch

from onecycle_cli.data.batches import Normalization, TrainBatches
from onecycle_cli.data.color import ColorJitter
from onecycle_cli.data.erasing import RandomErasing
from onecycle_cli.data.mixing import Mixing
from onecycle_cli.data.transforms import NO_TRANSFORMS, Transforms
from onecycle_cli.data.trivial_augment import TrivialAugment
from onecycle_cli.data.warping import RandomAffine, RandomResizedCrop
from onecycle_cli.experiments.train_batches import train_batches, transforms_of
from onecycle_cli.recipe import Recipe

Tiny = Callable[..., Recipe]

ERASING = RandomErasing(0.1, (0.02, 0.33), (0.3, 3.3))


def batches(recipe: Recipe) -> TrainBatches:
    labels = np.array([0] * 180 + [1] * 20)
    pixels = torch.randint(0, 256, (200, 8, 8, 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    normalization = Normalization.of((0.5,), (0.5,), torch.device("cpu"))
    return train_batches(recipe, pixels, torch.from_numpy(labels), normalization, labels)


@pytest.mark.parametrize(
    ("preset", "expected"),
    [
        ("none", NO_TRANSFORMS),
        ("light", Transforms((ColorJitter(0.4, 0.4, 0.4, 0.0),))),
        ("standard", Transforms((TrivialAugment(),), (ERASING,))),
        ("strong", Transforms((TrivialAugment(),), (ERASING,), Mixing(0.2, 1.0))),
    ],
)
def test_a_preset_is_its_transforms(tiny: Tiny, preset: str, expected: Transforms) -> None:
    assert transforms_of(tiny({"augmentation": preset}).augmentation) == expected


def test_every_field_is_a_transform_in_the_order_of_the_fields(tiny: Tiny) -> None:
    section = {
        "cutmix": 0.5,
        "random_resized_crop": {"scale": [0.5, 0.9]},
        "affine": {"degrees": 10.0, "translate": 0.1, "scale": [0.9, 1.2], "shear": 5.0},
        "color_jitter": {"hue": 0.1},
        "trivial_augment": True,
    }
    assert transforms_of(tiny({"data.random_crop": False, "augmentation": section}).augmentation) == Transforms(
        (
            RandomResizedCrop((0.5, 0.9), (0.75, 4 / 3)),
            RandomAffine(10.0, 0.1, (0.9, 1.2), 5.0),
            TrivialAugment(),
            ColorJitter(0.0, 0.0, 0.0, 0.1),
        ),
        (),
        Mixing(0.0, 0.5),
    )


def test_without_the_section_there_are_no_transforms(tiny: Tiny) -> None:
    assert transforms_of(tiny().augmentation) == NO_TRANSFORMS
    assert batches(tiny()).transforms == NO_TRANSFORMS


def test_a_balanced_sampler_shows_each_class_equally_often_and_other_images_in_each_epoch(tiny: Tiny) -> None:
    source = batches(tiny({"data.sampler": "balanced", "data.batch_size": 50}))
    seen = [drawn.labels for drawn in islice(source.drawn(0), 8)]
    assert Counter(torch.cat(seen[:4]).tolist()) == Counter(torch.cat(seen[4:]).tolist()) == {0: 100, 1: 100}
    assert not torch.equal(seen[0], seen[4])
    (again,) = islice(source.drawn(5), 1)
    assert torch.equal(again.labels, seen[5])
    assert Counter(torch.cat([d.labels for d in islice(batches(tiny()).drawn(0), 2)]).tolist())[0] > 150
