"""Image files of many kinds to pixels."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from onecycle_cli.data.decoding import decode, decode_into, may_be_image

COLOURS = np.zeros((8, 8, 3), dtype=np.uint8)
COLOURS[:, :4] = (200, 30, 40)
COLOURS[:, 4:] = (10, 60, 220)


def saved(tmp_path: Path, image: Image.Image, name: str = "image.png", **options: object) -> Path:
    image.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize("name", ["a.png", "a.bmp", "a.tiff", "a.ppm", "a.gif"])
def test_lossless_formats_keep_every_pixel(tmp_path: Path, name: str) -> None:
    assert np.array_equal(decode(saved(tmp_path, Image.fromarray(COLOURS), name), 8, 3), COLOURS)


def test_lossless_webp_keeps_every_pixel(tmp_path: Path) -> None:
    assert np.array_equal(decode(saved(tmp_path, Image.fromarray(COLOURS), "a.webp", lossless=True), 8, 3), COLOURS)


def test_jpeg_is_close(tmp_path: Path) -> None:
    smooth = np.asarray(Image.linear_gradient("L").convert("RGB").resize((200, 200)))
    path = saved(tmp_path, Image.fromarray(smooth), "a.jpg", quality=95)
    expected = np.asarray(Image.fromarray(smooth).resize((20, 20), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(decode(path, 20, 3).astype(int) - expected).max() <= 4


def test_a_palette_becomes_its_colours(tmp_path: Path) -> None:
    palette = Image.fromarray(COLOURS).quantize(4)
    assert palette.mode == "P"
    assert np.array_equal(decode(saved(tmp_path, palette), 8, 3), np.asarray(palette.convert("RGB")))


def test_what_is_transparent_lies_on_white(tmp_path: Path) -> None:
    image = Image.fromarray(COLOURS).convert("RGBA")
    image.putalpha(Image.fromarray(np.where(np.arange(64).reshape(8, 8) < 32, 255, 0).astype(np.uint8)))
    pixels = decode(saved(tmp_path, image), 8, 3)
    assert np.array_equal(pixels[:4], COLOURS[:4])
    assert (pixels[4:] == 255).all()


def test_a_palette_with_a_transparent_colour_lies_on_white(tmp_path: Path) -> None:
    palette = Image.fromarray(COLOURS).quantize(2)
    clear = int(np.asarray(palette)[0, 0])
    pixels = decode(saved(tmp_path, palette, transparency=clear), 8, 3)
    assert (pixels[:, :4] == 255).all()
    assert not (pixels[:, 4:] == 255).all()


def test_16_bit_grey_keeps_its_upper_8_bits(tmp_path: Path) -> None:
    deep = (np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)
    path = saved(tmp_path, Image.fromarray(deep))
    assert np.array_equal(decode(path, 8, 1)[..., 0], (deep >> 8).astype(np.uint8))


@pytest.mark.parametrize(("mode", "channels"), [("L", 3), ("RGB", 1), ("1", 3), ("CMYK", 3)])
def test_other_modes_become_the_channels_asked_for(tmp_path: Path, mode: str, channels: int) -> None:
    image = Image.fromarray(COLOURS).convert(mode)
    path = saved(tmp_path, image, "a.tiff")
    pixels = decode(path, 8, channels)
    assert pixels.shape == (8, 8, channels)
    expected = np.asarray(image.convert("L" if channels == 1 else "RGB")).reshape(8, 8, channels)
    assert np.array_equal(pixels, expected)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned by 90 degrees clockwise
    path = saved(tmp_path, Image.fromarray(COLOURS), exif=exif)
    assert np.array_equal(decode(path, 8, 3), np.rot90(COLOURS, -1))


@pytest.mark.parametrize(("width", "height"), [(40, 20), (20, 40), (21, 20)])
def test_the_shorter_side_is_resized_and_the_centre_cut_out(tmp_path: Path, width: int, height: int) -> None:
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    # A white square as wide as the shorter side, in the middle.
    left, top = (width - 20) // 2, (height - 20) // 2
    pixels[top : top + 20, left : left + 20] = 255
    assert (decode(saved(tmp_path, Image.fromarray(pixels)), 10, 3)[1:9, 1:9] == 255).all()
    pixels = 255 - pixels
    assert (decode(saved(tmp_path, Image.fromarray(pixels)), 10, 3)[1:9, 1:9] == 0).all()


def test_a_single_pixel_fills_the_image(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.new("RGB", (1, 1), (1, 2, 3)))
    assert (decode(path, 8, 3) == (1, 2, 3)).all()


def test_of_a_line_thousands_of_pixels_long_the_middle_is_resized(tmp_path: Path) -> None:
    # The whole line, resized, would be 65,000 x 1,024 x 1,024 bytes.
    line = np.zeros((1, 65_000, 3), dtype=np.uint8)
    line[:, 30_000:35_000] = (1, 2, 3)
    assert (decode(saved(tmp_path, Image.fromarray(line)), 1024, 3) == (1, 2, 3)).all()
    column = Image.fromarray(line.transpose(1, 0, 2))
    assert (decode(saved(tmp_path, column), 1024, 3) == (1, 2, 3)).all()


def test_a_long_image_is_cut_as_a_whole_one_would_be(tmp_path: Path) -> None:
    smooth = np.asarray(Image.linear_gradient("L").resize((20_000, 10)))
    pixels = decode(saved(tmp_path, Image.fromarray(smooth)), 8, 1)[..., 0]
    whole = Image.fromarray(smooth).resize((16_000, 8), Image.Resampling.BILINEAR)
    assert np.array_equal(pixels, np.asarray(whole.crop((7_996, 0, 8_004, 8))))


def test_of_an_animation_the_first_frame_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "green")]
    path = saved(tmp_path, frames[0], "a.gif", save_all=True, append_images=frames[1:])
    assert (decode(path, 8, 3) == (255, 0, 0)).all()


def test_a_photo_of_100_million_pixels_is_read_and_a_bomb_of_400_million_is_not(tmp_path: Path) -> None:
    assert (decode(saved(tmp_path, Image.new("1", (10_000, 10_000), 1)), 8, 1) == 255).all()
    with pytest.raises(Image.DecompressionBombError, match="400000000 pixels"):
        decode(saved(tmp_path, Image.new("1", (20_000, 20_000))), 8, 1)


@pytest.mark.parametrize("name", ["a.eps", "a.ps", "a.jpg", "a.png"])
def test_a_program_in_postscript_is_no_image_whatever_it_is_called(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(hello) print\n")
    with pytest.raises(UnidentifiedImageError):
        decode(tmp_path / name, 8, 3)


@pytest.mark.parametrize(
    ("name", "may"), [("a.JPG", True), ("a.webp", True), ("a.tif", True), ("a.eps", False), ("a.txt", False)]
)
def test_what_may_be_an_image_is_told_by_its_ending(name: str, may: bool) -> None:
    assert may_be_image(Path(name)) == may


def test_rows_are_filled_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    good = saved(tmp_path, Image.fromarray(COLOURS))
    text = tmp_path / "text.jpg"
    text.write_text("not an image")
    cut = tmp_path / "cut.png"
    cut.write_bytes(good.read_bytes()[:-30])
    empty = tmp_path / "empty.png"
    empty.touch()
    array = np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype=np.uint8, shape=(6, 8, 8, 3))
    count, unreadable = decode_into(tmp_path / "a.npy", 1, [good, text, cut, empty, good], 8, 3)
    assert count == 5
    assert [path for path, _ in unreadable] == [text, cut, empty]
    assert all(why for _, why in unreadable)
    assert np.array_equal(array[1], COLOURS)
    assert np.array_equal(array[5], COLOURS)
