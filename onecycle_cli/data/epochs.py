"""How many steps an epoch has."""

from onecycle_cli.errors import InputError


def check_batch_size(batch_size: int, images: int) -> None:
    """Refuses a batch that the training images cannot fill."""
    if batch_size > images:
        raise InputError(
            f"data.batch_size {batch_size} is larger than the {images} training images.",
            f"Set data.batch_size to at most {images}.",
        )


def steps_per_epoch(images: int, batch_size: int, *, drop_last: bool) -> int:
    """Batches in an epoch of `images` images; a last batch of a single image is never one."""
    whole, left = divmod(images, batch_size)
    return whole + (left > 1 and not drop_last)
