"""Pictures of images: each is there, with its caption, whatever its text."""

from pathlib import Path

import matplotlib.figure
import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from onecycle_cli.figures.pictures import plot_images


@pytest.mark.draws
@pytest.mark.parametrize("channels", [1, 3])
def test_the_pixels_of_each_image_are_in_the_picture(tmp_path: Path, channels: int) -> None:
    images = np.full((3, 4, 4, channels), 255, dtype=np.uint8)
    images[1], images[2, ..., 0] = 40, 90
    missing = plot_images(tmp_path / "a.png", title="t", images=images, captions=[["a"], ["b", "c"], ["d"]])
    assert missing == ""
    shown = {tuple(pixel) for pixel in np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).reshape(-1, 3)}
    assert (40, 40, 40) in shown
    assert ((90, 90, 90) if channels == 1 else (90, 255, 255)) in shown


def test_each_image_has_its_caption_and_text_is_taken_as_it_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[Figure] = []
    monkeypatch.setattr(matplotlib.figure.Figure, "savefig", lambda figure, *_, **__: saved.append(figure))
    captions = [[f"class {number}"] for number in range(10)]
    captions[1], captions[2] = ["$x_1$", "\x1b[31m"], ["a name that is longer than an image is wide"]
    images = np.zeros((10, 4, 4, 3), dtype=np.uint8)
    plot_images(tmp_path / "a.png", title="t", images=images, captions=captions)
    axes = saved[0].axes
    assert [len(one.images) for one in axes] == [1] * 10 + [0] * 6
    texts = [one.texts[0].get_text() for one in axes[:10]]
    assert texts[0] == "class 0"
    assert texts[1] == "\\$x_1\\$\n\\x1b[31m"
    assert texts[2].endswith("...")
