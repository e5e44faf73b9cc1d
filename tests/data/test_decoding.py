"""Image files of many kinds to pixels."""

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, UnidentifiedImageError

from onecycle_cli.data.decoding import MoreThan8Bits, decode, decode_into, image_endings, sampled, value_range_of
from onecycle_cli.data.file_decoding import read_image
from onecycle_cli.data.images import ImageFormat
from onecycle_cli.errors import MachineError

COLOURS = np.zeros((8, 8, 3), dtype=np.uint8)
COLOURS[:, :4] = (200, 30, 40)
COLOURS[:, 4:] = (10, 60, 220)


def saved(tmp_path: Path, image: Image.Image, name: str = "image.png", **options: Any) -> Path:
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


def png_with_16_bits(path: Path, values: np.ndarray) -> Path:
    """A PNG of 16 bits in one to four channels, which Pillow cannot write, by hand (PNG specification, 2003)."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        body = kind + content
        return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))

    height, width, channels = values.shape
    colour_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + line.astype(">u2").tobytes() for line in values)
    signature = b"\x89PNG\r\n\x1a\n"
    path.write_bytes(signature + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b""))
    return path


def test_a_deep_image_is_mapped_by_the_range_and_clipped_outside_of_it(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (8, 8, 1))
    pixels = decode(png_with_16_bits(tmp_path / "a.png", values), 8, 1, (1000, 3000))
    assert np.array_equal(pixels, np.rint((values.clip(1000, 3000) - 1000) / 2000 * 255))


def test_unsigned_integers_of_32_bits_keep_their_order(tmp_path: Path) -> None:
    values = np.linspace(0, 2**32 - 1, 64, dtype="<u4").reshape(8, 8)
    pixels = decode(tiff_of(tmp_path / "a.tiff", values, bits=32), 8, 1, (0, 2**32 - 1))
    assert (np.diff(pixels.astype(int).ravel()) >= 0).all()
    assert (pixels.min(), pixels.max()) == (0, 255)


def test_a_deep_image_is_turned_as_exif_says(tmp_path: Path) -> None:
    deep = (np.arange(64, dtype=np.uint16) * 1000).reshape(8, 8)
    exif = Image.Exif()
    exif[0x0112] = 6
    path = saved(tmp_path, Image.fromarray(deep), exif=exif)
    plain = saved(tmp_path, Image.fromarray(deep), "plain.png")
    turned = np.rot90(decode(plain, 8, 1, (0, 63_000)), -1)
    assert np.array_equal(decode(path, 8, 1, (0, 63_000)), turned)


def test_a_deep_image_without_a_range_is_no_image_of_black_and_white(tmp_path: Path) -> None:
    path = saved(tmp_path, Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)), "a.tiff")
    with pytest.raises(MoreThan8Bits, match="more than 8 bits") as caught:
        decode(path, 8, 1)
    assert np.array_equal(np.sort(caught.value.values), np.linspace(0, 1, 64, dtype=np.float32))
    assert decode(path, 8, 1, (0, 1)).max() == 255


@pytest.mark.parametrize(("value", "why"), [(np.nan, "not finite"), (np.inf, "not finite")])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, value: float, why: str) -> None:
    pixels = np.zeros((8, 8), np.float32)
    pixels[0, 0] = value
    with pytest.raises(ValueError, match=why):
        decode(saved(tmp_path, Image.fromarray(pixels), "a.tiff"), 8, 1, (0, 1))


def tiff_of(path: Path, values: np.ndarray, bits: int) -> Path:
    """An uncompressed little-endian TIFF of unsigned integers, which Pillow cannot write, by hand (TIFF 6.0)."""
    height, width, *more = values.shape
    channels = more[0] if more else 1
    photometric = 2 if channels == 3 else 1
    fields = [(256, width), (257, height), (258, bits), (259, 1), (262, photometric), (273, 200), (277, channels)]
    fields += [(278, height), (279, values.nbytes), (339, 1)]
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    if channels == 3:  # three numbers of bits stand elsewhere
        table = table.replace(struct.pack("<HHII", 258, 4, 1, bits), struct.pack("<HHII", 258, 3, 3, 180))
    head = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", len(fields)) + table + struct.pack("<I", 0)
    assert len(head) <= 180
    bits_of_each = struct.pack("<HHH", bits, bits, bits)
    path.write_bytes((head.ljust(180, b"\0") + bits_of_each).ljust(200, b"\0") + values.tobytes())
    return path


@pytest.mark.parametrize("name", ["grey and opacity.png", "colour.png", "colour and opacity.png", "colour.tiff"])
def test_16_bits_in_several_channels_are_refused_rather_than_cut_to_8(tmp_path: Path, name: str) -> None:
    channels = {"grey and opacity": 2, "colour": 3, "colour and opacity": 4}[Path(name).stem]
    values = np.random.default_rng(0).integers(0, 4096, (8, 8, channels))
    path = tmp_path / name
    if path.suffix == ".png":
        png_with_16_bits(path, values)
    else:
        tiff_of(path, values.astype("<u2"), bits=16)
    with pytest.raises(ValueError, match="several channels of 16 bits, of which only 8 can be read"):
        decode(path, 8, 3, (0, 4095))


def test_a_range_leaves_out_a_hot_pixel_and_keeps_rare_signals() -> None:
    plain = np.linspace(0, 4000, 2000)
    assert value_range_of([plain, np.array([65_535.0])]) == pytest.approx((4, 3998), rel=0.01)
    mostly_black = np.zeros(10_000)
    mostly_black[:5] = 900
    assert value_range_of([mostly_black]) == (0, 900)
    assert value_range_of([np.full(10, 7.0)]) == (7, 8)


def test_a_large_image_is_sampled_evenly() -> None:
    values = np.tile(np.arange(1000), (500, 1))
    some = sampled(values)
    assert len(some) == 1024
    assert some.mean() == pytest.approx(500, abs=30)
    assert np.array_equal(some, sampled(values))


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
    ("ending", "may"), [(".jpg", True), (".webp", True), (".tif", True), (".eps", False), (".txt", False), ("", False)]
)
def test_what_may_be_an_image_is_told_by_its_ending(ending: str, may: bool) -> None:
    assert (ending in image_endings()) == may


WIDE = Image.fromarray(np.repeat(np.repeat(COLOURS[:1, :2], 8, axis=0), 8, axis=1))
"""16 by 8 pixels: a square of one colour on the left, one of another on the right."""


def test_a_square_is_made_by_cutting_squashing_or_padding(tmp_path: Path) -> None:
    file = saved(tmp_path, WIDE)
    left, right = COLOURS[0, :2]
    cut = decode(file, 8, 3)
    assert (cut[:, :4] == left).all()
    assert (cut[:, 4:] == right).all()
    squashed = decode(file, 8, 3, resize="squash", interpolation="nearest")
    assert (squashed == cut).all()
    assert np.array_equal(
        decode(file, 8, 3, resize="squash"), np.asarray(WIDE.resize((8, 8), Image.Resampling.BILINEAR))
    )
    padded = decode(file, 8, 3, resize="pad", interpolation="nearest")
    assert (padded[:2] == 0).all()
    assert (padded[6:] == 0).all()
    assert (padded[2:6, :4] == left).all()
    assert (padded[2:6, 4:] == right).all()


@pytest.mark.parametrize("size", [(1, 900), (900, 1), (7, 8), (8, 8), (3, 5)])
@pytest.mark.parametrize("resize", ["shorter_side", "squash", "pad"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_size_becomes_a_square(tmp_path: Path, size: tuple[int, int], resize: str, channels: int) -> None:
    pixels = decode(saved(tmp_path, Image.new("RGB", size, (255, 255, 255))), 8, channels, resize=resize)
    assert pixels.shape == (8, 8, channels)
    assert pixels.max() == 255
    assert resize == "pad" or pixels.min() == 255


@pytest.mark.parametrize("name", ["bilinear", "bicubic", "nearest", "lanczos"])
def test_an_interpolation_is_pillows(tmp_path: Path, name: str) -> None:
    expected = np.asarray(Image.fromarray(COLOURS).resize((20, 20), Image.Resampling[name.upper()]))
    assert np.array_equal(decode(saved(tmp_path, Image.fromarray(COLOURS)), 20, 3, interpolation=name), expected)


def test_bytes_and_images_are_decoded_as_the_file_is(tmp_path: Path) -> None:
    file = saved(tmp_path, WIDE)
    assert np.array_equal(decode(file.read_bytes(), 8, 3), decode(file, 8, 3))
    assert np.array_equal(decode(WIDE.copy(), 8, 3), decode(file, 8, 3))
    for wrong, why in ((b"", "it is empty"), (b"nonsense", "it is not an image of a known format")):
        with pytest.raises(ValueError, match=why):
            decode(wrong, 8, 3)


def test_rows_are_filled_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    good = saved(tmp_path, Image.fromarray(COLOURS))
    text = tmp_path / "text.jpg"
    text.write_text("not an image")
    cut = tmp_path / "cut.png"
    cut.write_bytes(good.read_bytes()[:-30])
    empty = tmp_path / "empty.png"
    empty.touch()
    array = np.lib.format.open_memmap(tmp_path / "a.npy", mode="w+", dtype=np.uint8, shape=(7, 8, 8, 3))
    deep = saved(tmp_path, Image.fromarray(np.full((8, 8), 500, np.uint16)), "deep.png")
    rows = list(enumerate([good, text, cut, empty, good, deep], start=1))
    decoded = decode_into(tmp_path / "a.npy", rows, ImageFormat(8, 3), None)
    assert decoded.tried == 6
    assert [row for row, _ in decoded.unreadable] == [2, 3, 4]
    assert all(why for _, why in decoded.unreadable)
    assert [(row, values.max()) for row, values in decoded.deep] == [(6, 500)]
    assert np.array_equal(array[1], COLOURS)
    assert np.array_equal(array[5], COLOURS)


def test_a_lack_of_memory_is_not_blamed_on_the_image(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path, Image.fromarray(COLOURS))
    np.save(tmp_path / "a.npy", np.zeros((1, 8, 8, 3), dtype=np.uint8))

    def refuse(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", refuse)
    with pytest.raises(MemoryError):
        decode_into(tmp_path / "a.npy", [(0, path)], ImageFormat(8, 3), None)
    with pytest.raises(MachineError, match=r"image\.png cannot be read .*\nFree some memory"):
        read_image(path, lambda file: decode(file, 8, 3))
