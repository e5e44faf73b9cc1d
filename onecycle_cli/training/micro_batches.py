"""Splits a batch into micro-batches, whose gradients add up to the gradient of the batch."""

from collections.abc import Iterator
from itertools import accumulate

from onecycle_cli.data.batches import WHOLE, Batch, Share


def micro_batch_count(images: int, *, batch_size: int, accumulate: int, processes: int = 1) -> int:
    """Returns the number of micro-batches of a batch of `images` images; `batch_size` is that of a whole batch.

    A whole batch has `accumulate` of them. A smaller one, the last of an epoch, has fewer, of about the same size. Each
    has at least two images on each of the `processes` that divide it, because batch norm cannot train on one.
    """
    return max(1, min(-(-images * accumulate // batch_size), images // (2 * processes)))


def micro_batches(batch: Batch, count: int, images: int, share: Share = WHOLE) -> Iterator[Batch]:
    """Yields the micro-batches of a batch of `images`: the parts of `batch`, the images of one process, in each.

    The micro-batches of all processes together have sizes that differ by one image at most, the larger ones first. The
    sizes depend on `images` alone, so that a CUDA graph can record the split.
    """
    rank, ranks = (share.rank, share.ranks) if share.is_divided(images) else (0, 1)
    ends = accumulate(images // count + (number < images % count) for number in range(count))
    own = [-(-(end - rank) // ranks) for end in ends]  # the images rank, rank + ranks, ... that come before an end
    split = {name: tensor.tensor_split(own[:-1]) for name, tensor in batch._asdict().items() if tensor is not None}
    for number in range(count):
        yield Batch(**{name: parts[number] for name, parts in split.items()})
