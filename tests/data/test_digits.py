"""The embedded digits."""

import numpy as np

from onecycle_cli.data.digits import IMAGES, read_digits


def test_all_digits_are_there_over_the_whole_range_of_grey() -> None:
    found = read_digits()
    assert found.train.images.shape == (IMAGES, 8, 8, 1)
    assert (found.train.images.min(), found.train.images.max()) == (0, 255)
    assert np.bincount(found.train.labels).min() > 170
    assert found.classes == tuple("0123456789")
    assert found.valid is None
    assert found.test is None


def test_who_changes_the_images_changes_them_for_nobody_else() -> None:
    read_digits().train.images[:] = 7
    assert read_digits().train.images.max() == 255
