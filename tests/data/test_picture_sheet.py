"""A sheet has each image where its number says."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from onecycle_cli.data.picture_sheet import LARGEST_TILE, write_sheet


@pytest.mark.parametrize("channels", [1, 3])
def test_each_image_is_a_tile_in_rows_from_the_top_left(tmp_path: Path, channels: int) -> None:
    images = np.arange(5, dtype=np.uint8)[:, None, None, None] * 50 * np.ones((5, 4, 4, channels), dtype=np.uint8)
    write_sheet(tmp_path / "sheet.png", images, columns=3)
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))
    assert sheet.shape == (8, 12)
    corners = [int(sheet[4 * (i // 3), 4 * (i % 3)]) for i in range(6)]
    assert corners == [0, 50, 100, 150, 200, 0]  # the last place is empty


def test_large_images_become_smaller(tmp_path: Path) -> None:
    write_sheet(tmp_path / "sheet.png", np.full((2, 200, 100, 3), 7, dtype=np.uint8), columns=2)
    sheet = Image.open(tmp_path / "sheet.png")
    assert sheet.size == (2 * LARGEST_TILE // 2, LARGEST_TILE)
    assert sheet.getpixel((40, 10)) == (7, 7, 7)
