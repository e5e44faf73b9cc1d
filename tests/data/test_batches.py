"""Batches: one permutation an epoch, the same whatever the step that one begins at."""

from dataclasses import replace
from itertools import islice

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.data.augmentation import Augmentation
from onecycle_cli.data.batches import Batch, FixedBatches, Normalization, Share, TrainBatches, derived_seed
from onecycle_cli.data.erasing import RandomErasing
from onecycle_cli.data.mixing import Mixing
from onecycle_cli.data.transforms import Transforms
from onecycle_cli.errors import InputError

PLAIN = Normalization.of((0.0,), (1 / 255,), torch.device("cpu"))  # leaves pixels as they are
CROPS = Augmentation(horizontal_flip=True, random_crop=True, padding=1)


def batches(
    images: int, batch_size: int, *, drop_last: bool = False, seed: int = 0, augmentation: Augmentation = Augmentation()
) -> TrainBatches:
    pixels = torch.arange(images * 16, dtype=torch.int64).remainder(256).to(torch.uint8).view(images, 4, 4, 1)
    return TrainBatches(pixels, torch.arange(images), PLAIN, augmentation, batch_size, drop_last, seed)


def taken(source: TrainBatches, number: int, first: int = 0) -> list[Batch]:
    return [source.batch(drawn) for drawn in islice(source.drawn(first), number)]


def same(one: list[Batch], other: list[Batch]) -> bool:
    return all(
        torch.equal(a.images, b.images) and torch.equal(a.labels, b.labels) for a, b in zip(one, other, strict=True)
    )


@given(images=st.integers(4, 60), batch_size=st.integers(2, 20), drop_last=st.booleans())
def test_an_epoch_is_one_permutation(images: int, batch_size: int, drop_last: bool) -> None:
    if batch_size > images:
        return
    source = batches(images, batch_size, drop_last=drop_last)
    for epoch in range(2):
        seen = torch.cat([b.labels for b in taken(source, source.steps_per_epoch, epoch * source.steps_per_epoch)])
        assert len(seen.unique()) == len(seen)
        left_out = images % batch_size if drop_last or images % batch_size == 1 else 0
        assert len(seen) == images - left_out


@given(first=st.integers(0, 20))
def test_any_step_can_be_the_first(first: int) -> None:
    source = batches(23, 5, augmentation=CROPS)
    assert same(taken(source, 6, first), taken(source, first + 6)[first:])


def test_epochs_and_seeds_differ() -> None:
    one, other = batches(40, 40), batches(40, 40, seed=1)
    assert not torch.equal(taken(one, 1)[0].labels, taken(one, 1, 1)[0].labels)
    assert not torch.equal(taken(one, 1)[0].labels, taken(other, 1)[0].labels)


def test_the_batch_size_does_not_change_the_order_of_the_images() -> None:
    whole = torch.cat([b.labels for b in taken(batches(40, 8), 5)])
    assert torch.equal(whole, taken(batches(40, 40), 1)[0].labels)


def test_nothing_of_it_depends_on_torchs_own_generator() -> None:
    source = batches(23, 5, augmentation=CROPS)
    torch.manual_seed(1)
    first = taken(source, 3)
    state = torch.get_rng_state()
    torch.manual_seed(2)
    assert same(first, taken(source, 3))
    torch.manual_seed(1)
    assert torch.equal(state, torch.get_rng_state())


def test_images_keep_their_labels() -> None:
    source = batches(15, 4)
    for batch in taken(source, 4):
        assert torch.equal(batch.images[:, 0, 0, 0], (batch.labels * 16).float().remainder(256))


def test_a_batch_larger_than_the_training_set_is_refused() -> None:
    with pytest.raises(InputError, match="batch_size 11 is larger than the 10 training images"):
        batches(10, 11)


def test_a_last_batch_of_one_image_is_left_out() -> None:
    source = batches(11, 5)
    assert source.drops_single_image
    assert [len(b.labels) for b in taken(source, 3)] == [5, 5, 5]
    assert not batches(12, 5).drops_single_image
    assert not batches(11, 5, drop_last=True).drops_single_image


def test_normalization_is_by_channel_and_leaves_channels_last_in_memory() -> None:
    mean, std = (0.1, 0.5, 0.9), (0.2, 0.3, 0.4)
    pixels = torch.randint(0, 256, (2, 4, 5, 3), dtype=torch.uint8)
    got = Normalization.of(mean, std, torch.device("cpu"))(pixels)
    expected = (pixels.permute(0, 3, 1, 2) / 255 - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(std).view(3, 1, 1)
    assert got.dtype == torch.float32
    assert got.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(got, expected)


def test_fixed_batches_are_all_images_in_their_order() -> None:
    pixels = torch.arange(7, dtype=torch.uint8).view(7, 1, 1, 1)
    got = list(FixedBatches(pixels, torch.arange(7), PLAIN, 3))
    assert [labels.tolist() for _, labels in got] == [[0, 1, 2], [3, 4, 5], [6]]
    assert torch.cat([pixels for pixels, _ in got]).ravel().tolist() == list(range(7))


@given(seed=st.integers(0, 2**32 - 1), epoch=st.integers(0, 1000))
def test_derived_seeds_are_63_bits_and_told_apart_by_every_part(seed: int, epoch: int) -> None:
    derived = derived_seed(seed, "epoch", epoch)
    assert 0 <= derived < 2**63
    assert len({derived, derived_seed(seed + 1, "epoch", epoch), derived_seed(seed, "weights", epoch)}) == 3
    assert derived != derived_seed(seed, "epoch", epoch + 1)


def shared(source: TrainBatches, ranks: int) -> list[TrainBatches]:
    return [replace(source, share=Share(rank, ranks)) for rank in range(ranks)]


@given(
    images=st.integers(8, 60),
    batch_size=st.integers(8, 20),
    ranks=st.integers(2, 4),
    mixed=st.booleans(),
    first=st.integers(0, 9),
)
def test_the_shares_of_all_processes_are_the_batch_of_one(
    images: int, batch_size: int, ranks: int, mixed: bool, first: int
) -> None:
    transforms = Transforms((), (RandomErasing(0.5, (0.1, 0.3), (0.5, 2.0)),), Mixing(1.0, 1.0) if mixed else None)
    source = replace(batches(images, min(images, batch_size), augmentation=CROPS), transforms=transforms)
    whole = taken(source, 4, first)
    parts = [taken(one, 4, first) for one in shared(source, ranks)]
    for step, batch in enumerate(whole):
        assert source.images_of(first + step) == len(batch.labels)
        for rank, taken_here in enumerate(parts):
            own = slice(rank, None, ranks) if len(batch.labels) >= 2 * ranks else slice(None)
            for name, tensor in batch._asdict().items():
                here = getattr(taken_here[step], name)
                assert (here is None) == (tensor is None)
                assert here is None or torch.equal(here, tensor[own]), name


def test_a_batch_that_gives_each_process_less_than_two_images_is_refused() -> None:
    with pytest.raises(InputError, match="data.batch_size 6 is too small for 4 processes"):
        replace(batches(20, 6), share=Share(0, 4))


@given(images=st.integers(1, 40), ranks=st.integers(1, 5))
def test_each_process_scores_some_images_and_together_all_of_them(images: int, ranks: int) -> None:
    pixels = torch.zeros(images, 4, 4, 1, dtype=torch.uint8)
    fixed = FixedBatches(pixels, torch.arange(images), PLAIN, 3)
    parts = [[label for _, labels in fixed.shared(Share(rank, ranks)) for label in labels] for rank in range(ranks)]
    assert all(parts)
    if images >= 2 * ranks:
        assert sorted(int(label) for part in parts for label in part) == list(range(images))
    else:
        assert [len(part) for part in parts] == [images] * ranks
