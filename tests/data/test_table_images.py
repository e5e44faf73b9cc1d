"""The images of a table in pieces; the tables themselves are tested in test_parquet.py and test_datasets.py."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from onecycle_cli.data.table_images import TableImages


@dataclass(frozen=True)
class InMemory:
    path: Path
    images: list[bytes]

    def schema(self) -> Any:
        return pa.schema([("image", pa.binary())])

    def column(self, name: str) -> list[Any]:
        assert name == "image"
        return self.images

    def batches(self, name: str, size: int) -> Iterator[Any]:
        assert name == "image"
        return (pa.array(self.images[start : start + size]) for start in range(0, len(self.images), size))


@pytest.fixture
def images() -> TableImages:
    files = [InMemory(Path("a"), [b"0", b"1", b"2"]), InMemory(Path("b"), [b"3", b"4"])]
    return TableImages(files, "image", np.array([4, 3, 2, 1, 0]))


@pytest.mark.parametrize("wanted", [None, {4, 0}, {2}, set()])
def test_each_image_has_its_row_of_the_cache(images: TableImages, wanted: set[int] | None) -> None:
    chunks = list(images.chunks(2, wanted))
    assert max(map(len, chunks), default=0) <= 2
    rows = {row: image for chunk in chunks for row, image in chunk}
    assert rows == {row: str(4 - row).encode() for row in range(5) if wanted is None or row in wanted}


def test_an_image_is_named_by_its_file_and_its_row_there(images: TableImages) -> None:
    assert [images.name(row) for row in range(5)] == ["b, row 1", "b, row 0", "a, row 2", "a, row 1", "a, row 0"]
