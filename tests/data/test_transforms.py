"""All transforms together: their order, their draws, and that nothing in them looks at the device."""

import dataclasses
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from onecycle_cli.data.augmentation import Augmentation
from onecycle_cli.data.batches import Batch, Drawn, Normalization, TrainBatches
from onecycle_cli.data.color import ColorJitter
from onecycle_cli.data.erasing import RandomErasing
from onecycle_cli.data.mixing import Mixing
from onecycle_cli.data.transforms import NO_TRANSFORMS, Transforms
from onecycle_cli.data.trivial_augment import TrivialAugment
from onecycle_cli.data.warping import RandomAffine, RandomResizedCrop

LEVELS = (
    RandomResizedCrop((0.3, 1.0), (0.75, 4 / 3)),
    RandomAffine(20, 0.1, (0.9, 1.1), 5),
    TrivialAugment(),
    ColorJitter(0.4, 0.4, 0.4, 0.1),
)
ERASING = RandomErasing(0.5, (0.02, 0.33), (0.3, 3.3))
EVERYTHING = Transforms(LEVELS, (ERASING,), Mixing(0.2, 1.0))
SEVERAL = [Transforms((one,)) for one in LEVELS]
SEVERAL += [Transforms((), (ERASING,)), Transforms((), (), Mixing(0.2, 0.0)), EVERYTHING]


def batches(transforms: Transforms, *, channels: int = 3, seed: int = 0, batch_size: int = 8) -> TrainBatches:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (20, 12, 12, channels), dtype=torch.uint8, generator=generator)
    normalization = Normalization.of((0.4,) * channels, (0.3,) * channels, torch.device("cpu"))
    augmentation = Augmentation(horizontal_flip=True, random_crop=True, padding=2)
    labels = torch.arange(20) % 3
    return TrainBatches(pixels, labels, normalization, augmentation, batch_size, False, seed, transforms)


def first(source: TrainBatches, step: int = 0) -> Batch:
    return source.batch(next(source.drawn(step)))


def same(one: Batch, other: Batch) -> bool:
    return all(a is b or torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("transforms", SEVERAL)
def test_a_batch_has_the_form_that_it_has_without_transforms(transforms: Transforms, channels: int) -> None:
    got, plain = first(batches(transforms, channels=channels)), first(batches(NO_TRANSFORMS, channels=channels))
    assert got.images.shape == plain.images.shape
    assert got.images.dtype == plain.images.dtype
    assert got.images.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(got.labels, plain.labels)
    assert not torch.equal(got.images, plain.images)
    assert got.images.min() >= -0.4 / 0.3 - 1e-5  # black
    assert got.images.max() <= 0.6 / 0.3 + 1e-5  # white


def test_without_transforms_the_draws_have_no_column_and_images_are_not_mixed() -> None:
    source = batches(NO_TRANSFORMS)
    drawn = next(source.drawn(0))
    assert drawn.transforms.shape == (8, 0)
    batch = source.batch(drawn)
    assert batch.other_labels is batch.share is None
    assert batch.main_labels is batch.labels


def test_the_crop_the_flip_and_the_order_of_the_images_are_those_of_before() -> None:
    for one, other in zip(*(islice(batches(t).drawn(0), 5) for t in (NO_TRANSFORMS, EVERYTHING)), strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one[:5], other[:5], strict=True))


def test_a_step_has_the_same_batch_whatever_the_first_step_was() -> None:
    source = batches(EVERYTHING)
    whole = [source.batch(drawn) for drawn in islice(source.drawn(0), 8)]
    for step in range(8):
        assert same(first(source, step), whole[step])
    assert not torch.equal(whole[0].images, first(batches(EVERYTHING, seed=1)).images)
    assert not torch.equal(next(source.drawn(0)).transforms, next(source.drawn(3)).transforms)


def test_nothing_is_drawn_from_the_generators_of_torch_and_numpy() -> None:
    import numpy as np

    source = batches(EVERYTHING)
    torch.manual_seed(1)
    np.random.seed(1)
    state, numpy_state = torch.get_rng_state(), np.random.get_state(legacy=False)
    one = first(source)
    assert torch.equal(torch.get_rng_state(), state)
    assert str(np.random.get_state(legacy=False)) == str(numpy_state)
    torch.manual_seed(2)
    assert same(first(source), one)


def test_the_transforms_come_in_their_order_and_each_gets_its_own_draws() -> None:
    source = batches(EVERYTHING)
    drawn = next(source.drawn(3))
    parts = drawn.transforms.split([4, 5, 2, 8, 4, 6], dim=1)
    plain = batches(NO_TRANSFORMS).batch(drawn).images
    levels = (plain * 0.3 + 0.4).mul(255).round()
    for transform, part in zip(EVERYTHING.of_levels, parts, strict=False):
        levels = transform(levels, part)
    normalized = source.normalization(levels.permute(0, 2, 3, 1))
    expected = Mixing(0.2, 1.0)(ERASING(normalized, parts[4]), parts[5])
    torch.testing.assert_close(source.batch(drawn).images, expected)


def test_mixed_batches_tell_the_other_label_its_share_and_the_larger_one() -> None:
    source = batches(Transforms(mixing=Mixing(1.0, 0.0)))
    shares = set()
    for step in range(6):
        batch = first(source, step)
        assert torch.equal(batch.other_labels, batch.labels.roll(1, 0))
        share = batch.share[0].item()
        assert torch.equal(batch.main_labels, batch.labels if share >= 0.5 else batch.other_labels)
        shares.add(share >= 0.5)
    assert shares == {True, False}


@pytest.mark.parametrize("channels", [1, 3])
def test_a_batch_can_be_made_on_the_meta_device_which_no_program_can_look_at(channels: int) -> None:
    source = batches(EVERYTHING, channels=channels)
    normalization = Normalization(source.normalization.shift.to("meta"), source.normalization.scale.to("meta"))
    drawn = Drawn(*(tensor.to("meta") for tensor in next(source.drawn(0))))
    batch = dataclasses.replace(source, normalization=normalization).batch(drawn)
    assert batch.images.device.type == "meta"
    assert batch.images.shape == (8, channels, 12, 12)


class Devices(TorchDispatchMode):
    """Notes the operations that take a tensor of the host."""

    def __init__(self) -> None:
        super().__init__()
        self.of_the_host: list[str] = []
        self.operations = 0

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.operations += 1
        tensors = [one for one in torch.utils._pytree.tree_leaves((args, kwargs)) if isinstance(one, Tensor)]
        if any(tensor.device.type == "cpu" for tensor in tensors):
            self.of_the_host.append(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("channels", [1, 3])
def test_no_operation_of_a_batch_on_a_gpu_takes_a_tensor_of_the_host(channels: int) -> None:
    """Such an operation copies to the device, which a CUDA graph cannot record. Needs no GPU: its tensors are fake."""
    source = batches(EVERYTHING, channels=channels)
    real = next(source.drawn(0))
    with FakeTensorMode():

        def fake(tensor: Tensor) -> Tensor:
            return torch.empty(tensor.shape, dtype=tensor.dtype, device="cuda")

        drawn = Drawn(*map(fake, real))
        normalization = Normalization(fake(source.normalization.shift), fake(source.normalization.scale))
        with Devices() as devices:
            batch = dataclasses.replace(source, normalization=normalization).batch(drawn)
    assert batch.images.device.type == "cuda"
    assert devices.operations > 200
    assert devices.of_the_host == []
