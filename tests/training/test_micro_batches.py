"""The sizes of micro-batches, for every batch."""

from itertools import chain

import torch
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.data.batches import Batch, Share
from onecycle_cli.training.micro_batches import micro_batch_count, micro_batches


@given(st.data())
def test_each_image_is_in_one_micro_batch_and_none_is_larger_than_those_of_a_whole_batch(data: st.DataObject) -> None:
    batch_size = data.draw(st.integers(2, 600))
    accumulate = data.draw(st.integers(1, batch_size // 2))
    images = data.draw(st.integers(2, batch_size))
    count = micro_batch_count(images, batch_size=batch_size, accumulate=accumulate)
    parts = list(micro_batches(Batch(torch.zeros(images, 1, 1, 1), torch.arange(images)), count, images))
    assert torch.equal(torch.cat([part.labels for part in parts]), torch.arange(images))
    sizes = [len(part.labels) for part in parts]
    assert [len(part.images) for part in parts] == sizes
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] - sizes[-1] <= 1
    assert sizes[-1] >= 2
    assert sizes[0] <= max(3, -(-batch_size // accumulate))
    assert len(sizes) <= accumulate
    if images == batch_size:
        assert len(sizes) == accumulate


def test_the_last_batch_of_an_epoch_has_micro_batches_of_about_the_usual_size() -> None:
    assert micro_batch_count(512, batch_size=512, accumulate=4) == 4
    assert micro_batch_count(200, batch_size=512, accumulate=4) == 2
    assert micro_batch_count(20, batch_size=512, accumulate=4) == 1
    assert micro_batch_count(7, batch_size=8, accumulate=4) == 3  # of 3, 2 and 2 images
    assert micro_batch_count(2, batch_size=8, accumulate=4) == 1


@given(st.data())
def test_the_micro_batches_of_all_processes_are_those_of_one(data: st.DataObject) -> None:
    ranks = data.draw(st.integers(2, 4))
    images = data.draw(st.integers(2 * ranks, 100))
    count = micro_batch_count(images, batch_size=100, accumulate=data.draw(st.integers(1, 20)), processes=ranks)
    labels = torch.arange(images)
    whole = [part.labels.tolist() for part in micro_batches(Batch(torch.zeros(images, 1), labels), count, images)]
    apart = []
    for rank in range(ranks):
        share = Share(rank, ranks)
        own = labels[share.of(images)]
        apart.append([part.labels.tolist() for part in micro_batches(Batch(own, own), count, images, share)])
    assert [sorted(chain(*parts)) for parts in zip(*apart, strict=True)] == whole
    assert min(len(part) for parts in apart for part in parts) >= 1


def test_a_batch_that_is_not_divided_has_the_same_micro_batches_in_every_process() -> None:
    labels = torch.arange(5)
    parts = micro_batches(Batch(labels, labels), 2, 5, Share(1, 3))
    assert [part.labels.tolist() for part in parts] == [[0, 1, 2], [3, 4]]
