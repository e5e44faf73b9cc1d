"""The order of the images of every source, and what is refused of their labels."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from onecycle_cli.data.cache import cache_folder
from onecycle_cli.data.labelled_images import SPLITS, by_class, cache_beside, must_be_trained
from onecycle_cli.errors import InputError


@given(st.lists(st.tuples(st.sampled_from(SPLITS), st.integers(0, 3)), min_size=1))
def test_images_are_sorted_by_split_and_class_and_else_keep_their_order(images: list[tuple[str, int]]) -> None:
    labels, rows = by_class([split for split, _ in images], [number for _, number in images])
    expected = sorted(range(len(images)), key=lambda n: (SPLITS.index(images[n][0]), images[n][1], n))
    assert np.argsort(rows).tolist() == expected
    assert [(split, label) for split in labels for label in labels[split].tolist()] == [images[n] for n in expected]


@pytest.mark.parametrize(
    ("labels", "what"),
    [
        ({"train": [0, 1], "test": [1, 2]}, "x.csv: the test split has classes without training images: c"),
        ({"train": [1, 1]}, "x.csv holds training images of the class 'b' only"),
        ({"test": [0, 1]}, "x.csv holds no training images"),
        ({"train": [0, 1], "valid": range(2, 40)}, "c, d, e, f, g, h, i, j, k, l and 28 more."),
    ],
)
def test_every_class_needs_training_images(labels: dict, what: str) -> None:
    with pytest.raises(InputError) as caught:
        must_be_trained(labels, [*"abcdefghijkl", *map(str, range(12, 40))], "x.csv")
    assert what in caught.value.what


def test_a_cache_is_beside_what_exists_and_that_of_a_pattern_is_the_users(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").touch()
    assert cache_beside(tmp_path / "a.parquet", "parquet") == tmp_path / "a.parquet.onecycle-cache"
    assert cache_beside(tmp_path / "*.parquet", "parquet").parent == cache_folder() / "parquet"
