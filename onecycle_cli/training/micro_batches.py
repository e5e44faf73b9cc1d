"""Splits a batch into micro-batches, whose gradients add up to the gradient of the batch."""

from collections.abc import Iterator

from onecycle_cli.data.batches import Batch


def micro_batch_count(images: int, *, batch_size: int, accumulate: int) -> int:
    """Returns the number of micro-batches of a batch of `images` images; `batch_size` is that of a whole batch.

    A whole batch has `accumulate` of them. A smaller one, the last of an epoch, has fewer, of about the same size. Each
    has at least two images, because batch norm cannot train on one.
    """
    return max(1, min(-(-images * accumulate // batch_size), images // 2))


def micro_batches(batch: Batch, count: int) -> Iterator[Batch]:
    """Yields `count` parts of a batch in its order. Their sizes differ by one image at most, the larger ones first.

    The sizes depend on the size of the batch alone, so that a CUDA graph can record the split.
    """
    split = {name: tensor.tensor_split(count) for name, tensor in batch._asdict().items() if tensor is not None}
    for number in range(count):
        yield Batch(**{name: parts[number] for name, parts in split.items()})
