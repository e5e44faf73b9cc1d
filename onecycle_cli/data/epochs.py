"""The number of steps in an epoch."""

from onecycle_cli.errors import InputError


def check_batch_size(batch_size: int, images: int, processes: int = 1) -> None:
    """Raises `InputError` when the batch size is larger than the number of training images, or too small to divide.

    Each of several processes needs two images of a batch, because batch norm cannot train on one.
    """
    if processes > 1 and batch_size < 2 * processes:
        raise InputError(
            f"data.batch_size {batch_size} is too small for {processes} processes: it is that of all of them together.",
            f"Set data.batch_size to at least {2 * processes}, or start fewer processes.",
        )
    if batch_size > images:
        raise InputError(
            f"data.batch_size {batch_size} is larger than the {images} training images.",
            f"Set data.batch_size to at most {images}.",
        )


def steps_per_epoch(images: int, batch_size: int, *, drop_last: bool) -> int:
    """Returns the number of batches in an epoch of `images` images; a last batch of one image is never counted."""
    whole, left = divmod(images, batch_size)
    return whole + (left > 1 and not drop_last)
