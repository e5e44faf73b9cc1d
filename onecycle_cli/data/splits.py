"""The validation split that is held out of the training images."""

import numpy as np

from onecycle_cli.data.images import Split
from onecycle_cli.errors import InputError, need_room_for_scipy


def held_out_size(images: int, valid_fraction: float) -> int:
    """Returns how many of `images` training images are held out; rounded up, as scikit-learn does."""
    return int(np.ceil(round(images * valid_fraction, 9)))


def hold_out(split: Split, valid_fraction: float, seed: int) -> tuple[Split, Split]:
    """Splits `split` into training and validation images: the same share of each class, chosen by `seed`, in order.

    `InputError` when a class has fewer than two images, or a part would have fewer images than there are classes;
    `OSError` if there is no memory for the library that chooses them.
    """
    need_room_for_scipy()
    from sklearn.model_selection import train_test_split

    size = held_out_size(len(split), valid_fraction)
    counts = np.bincount(split.labels)
    classes = int((counts > 0).sum())
    if counts[counts > 0].min() < 2 or min(size, len(split) - size) < classes:
        raise InputError(
            f"data.valid_fraction {valid_fraction:g} cannot be held out of each class: there are {len(split)} training "
            f"images in {classes} classes, and the smallest class has {counts[counts > 0].min()}.",
            "Add images, remove the smallest class, or change data.valid_fraction.",
        )
    train, valid = train_test_split(
        np.arange(len(split)), test_size=size, stratify=split.labels, random_state=seed, shuffle=True
    )
    return split.at(np.sort(train)), split.at(np.sort(valid))
