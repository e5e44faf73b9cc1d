"""How images with more than 8 bits a channel are decoded: by one range of values, that of the training images.

The cache itself is tested through folders of images, in test_image_folder.py.
"""

import mmap
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from onecycle_cli.data.cache import locked
from onecycle_cli.data.decoded_cache import Decoded, ImageFiles, decoded_images, expect_random_reads
from onecycle_cli.data.images import ImageFormat, contents_of
from onecycle_cli.errors import InputError
from onecycle_cli.progress import silent


def decoded(tmp_path: Path, files: list[Path], trained: int) -> Decoded:
    (tmp_path / "cache").mkdir(exist_ok=True)
    with locked(tmp_path / "lock") as lock:
        return decoded_images(tmp_path / "cache", ImageFiles(files), trained, "", ImageFormat(8, 1), lock, silent)


def saved(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


KINDS = [("png", np.uint16, 16), ("tiff", np.float32, 1 / 255), ("tiff", np.int32, 100_000), ("ppm", np.int32, 100)]


@pytest.mark.parametrize(("ending", "kind", "unit"), KINDS)
def test_deep_images_keep_their_contrast(tmp_path: Path, ending: str, kind: type, unit: float) -> None:
    levels = np.arange(64).reshape(8, 8) * 4
    images = [levels, 252 - levels]
    files = [saved(tmp_path / f"{n}.{ending}", (image * unit).astype(kind)) for n, image in enumerate(images)]
    found = decoded(tmp_path, files, 2)
    assert found.deep_images == 2
    assert found.value_range == pytest.approx((0, 252 * unit), abs=2 * unit)
    for image, pixels in zip(images, found.images, strict=True):
        assert np.abs(pixels[..., 0].astype(float) - image * 255 / 252).max() <= 2


def test_the_range_is_that_of_the_training_images_and_not_of_each_image(tmp_path: Path) -> None:
    dark, bright = np.full((8, 8), 1000, np.uint16), np.full((8, 8), 3000, np.uint16)
    brighter = np.full((8, 8), 60_000, np.uint16)
    files = [saved(tmp_path / f"{n}.png", image) for n, image in enumerate((dark, bright, brighter))]
    found = decoded(tmp_path, files, 2)
    assert found.value_range == (1000, 3000)
    assert [pixels.max() for pixels in found.images] == [0, 255, 255]


def test_images_of_8_bits_among_deep_ones_stay_as_they_are(tmp_path: Path) -> None:
    plain = np.arange(64, dtype=np.uint8).reshape(8, 8)
    files = [saved(tmp_path / "a.png", plain), saved(tmp_path / "b.png", plain.astype(np.uint16) * 1000)]
    found = decoded(tmp_path, files, 2)
    assert np.array_equal(found.images[0, ..., 0], plain)
    assert found.deep_images == 1


def test_a_deep_test_image_is_refused_where_no_training_image_is_deep(tmp_path: Path) -> None:
    plain = np.zeros((8, 8), np.uint8)
    files = [saved(tmp_path / "a.png", plain), saved(tmp_path / "deep.png", plain.astype(np.uint16))]
    with pytest.raises(InputError, match=r"deep\.png: it has more than 8 bits per channel"):
        decoded(tmp_path, files, 1)


def test_the_range_and_the_hashes_are_kept_with_the_cache(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", (np.arange(64).reshape(8, 8) * 50).astype(np.uint16))
    first, second = decoded(tmp_path, [file], 1), decoded(tmp_path, [file], 1)
    assert first.value_range == second.value_range
    assert np.array_equal(second.contents, contents_of(first.images))


@pytest.mark.parametrize("name", ["images.npy", "contents.npy", "decoded.json"])
def test_a_cache_with_a_changed_byte_is_decoded_again(tmp_path: Path, name: str) -> None:
    files = [saved(tmp_path / f"{n}.png", np.full((8, 8), 100 * n, np.uint8)) for n in range(2)]
    right = decoded(tmp_path, files, 2)
    (path,) = (tmp_path / "cache").rglob(name)
    written = path.read_bytes()
    for at in (0, len(written) // 2, len(written) - 1):
        path.write_bytes(written[:at] + bytes([written[at] ^ 1]) + written[at + 1 :])
        again = decoded(tmp_path, files, 2)
        assert np.array_equal(again.images, right.images)
        assert np.array_equal(again.contents, right.contents)
        assert path.read_bytes() == written


def test_a_cache_that_is_there_is_summed_without_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of images that take seconds to sum keep nobody waiting, and may be replaced meanwhile."""
    file = saved(tmp_path / "a.png", np.full((8, 8), 100, np.uint8))
    other = saved(tmp_path / "b.png", np.full((8, 8), 200, np.uint8))
    right = decoded(tmp_path, [file], 1)
    replaced: list[bool] = []
    plain = zlib.crc32

    def replacing(block: bytes, before: int = 0) -> int:
        if not replaced and block[1:6] == b"NUMPY":
            replaced.append(True)
            with FileLock(tmp_path / "lock", timeout=0) as lock:
                decoded_images(tmp_path / "cache", ImageFiles([other]), 1, "other", ImageFormat(8, 1), lock, silent)
        return plain(block, before)

    monkeypatch.setattr(zlib, "crc32", replacing)
    assert np.array_equal(decoded(tmp_path, [file], 1).images, right.images)
    assert replaced
    assert "other" in (tmp_path / "cache" / "8px-1ch" / "decoded.json").read_text()
    assert FileLock(tmp_path / "lock", timeout=0).acquire()


def test_every_way_to_make_a_square_has_a_cache_of_its_own(tmp_path: Path) -> None:
    file = saved(tmp_path / "a.png", np.arange(128, dtype=np.uint8).reshape(8, 16))
    formats = [ImageFormat(8, 1), ImageFormat(8, 1, "pad"), ImageFormat(8, 1, "pad", "nearest"), ImageFormat(9, 1)]
    images = []
    for image_format in formats:
        with locked(tmp_path / "lock") as lock:
            images.append(decoded_images(tmp_path, ImageFiles([file]), 1, "", image_format, lock, silent).images)
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == [
        *("8px-1ch", "8px-1ch-pad", "8px-1ch-pad-nearest", "9px-1ch")
    ]
    assert not np.array_equal(images[1], images[0])
    assert not np.array_equal(images[1], images[2])


@pytest.mark.parametrize("rows", [slice(0, 0), slice(0, 1), slice(3, 4_000), slice(0, 5_000)])
def test_images_that_are_too_many_for_the_memory_are_read_one_by_one(tmp_path: Path, rows: slice) -> None:
    file = tmp_path / "a.npy"
    np.save(file, np.random.default_rng(0).integers(0, 256, (5_000, 8, 8, 3), dtype=np.uint8))
    images = np.lib.format.open_memmap(file, mode="c")
    expect_random_reads(images[rows], memory=0)
    expect_random_reads(np.array(images[rows]), memory=0)
    assert np.array_equal(images, np.load(file))
    mappings = Path("/proc/self/smaps")
    known = mappings.read_text().split("VmFlags:") if mappings.exists() else []
    if len(known) > 1:  # Linux tells the advice that a mapping has: "rr" is random reads
        advised = any(str(file) in before and " rr" in after.splitlines()[0] for before, after in pairwise(known))
        assert advised == (images[rows].nbytes > mmap.PAGESIZE)
    expect_random_reads(images[rows])  # fits into the memory: no advice
