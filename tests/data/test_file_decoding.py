"""Files decoded in order, with and without workers."""

import multiprocessing
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from onecycle_cli.data import file_decoding
from onecycle_cli.data.decoding import decode
from onecycle_cli.data.file_decoding import DecodedFiles, FileDecoder, fair_workers, read_image
from onecycle_cli.errors import InputError

SMALL = partial(decode, image_size=6, channels=3)


@pytest.fixture(autouse=True)
def _small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_decoding, "CHUNK", 3)
    monkeypatch.setattr(file_decoding, "AHEAD", 2)
    monkeypatch.setattr(file_decoding, "cores", lambda: 2)
    monkeypatch.setattr("os.getloadavg", lambda: (0.5, 0.5, 0.5))


@pytest.fixture
def files(image_folder: Callable[..., Path]) -> list[Path]:
    """Forty images, of which one is none, and a name of no file."""
    folder = image_folder("a", "b", images=20)
    (folder / "a" / "7.png").write_text("no image")
    return [*sorted(folder.rglob("*.png")), Path("nowhere.png")]


def flat(chunks: Iterator[DecodedFiles]) -> tuple[list[Path], list[bytes], list[tuple[Path, str]], list[int]]:
    found = list(chunks)
    return (
        [path for chunk in found for path in chunk.read],
        [pixels.tobytes() for chunk in found for pixels in chunk.pixels],
        [one for chunk in found for one in chunk.unreadable],
        [len(chunk.read) + len(chunk.unreadable) for chunk in found],
    )


def test_a_few_files_are_decoded_here_in_order(files: list[Path]) -> None:
    decoder = FileDecoder(files, SMALL, busy_cores=0)
    read, pixels, unreadable, sizes = flat(iter(decoder))
    bad = [path for path in files if path.name == "nowhere.png" or path.parts[-2:] == ("a", "7.png")]
    assert read == [path for path in files if path not in bad]
    assert pixels == [SMALL(path).tobytes() for path in read]
    assert [path for path, _ in unreadable] == bad
    assert "cannot be read as an image" in unreadable[0][1]
    assert unreadable[1][1] == "There is no image at nowhere.png."
    assert sizes == [3] * 13 + [2]
    assert decoder.workers == 0
    assert list(FileDecoder([], SMALL, busy_cores=0)) == []


def test_workers_give_the_same_and_decode_little_ahead(files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    alone = flat(iter(FileDecoder(files, SMALL, busy_cores=0)))
    monkeypatch.setattr(file_decoding, "ALONE_SECONDS", 1e-9)
    taken = iter(files)
    decoder = FileDecoder(taken, SMALL, busy_cores=0)
    chunks = iter(decoder)
    first = [next(chunks), next(chunks)]
    assert decoder.workers == 2
    assert len(list(taken)) == len(files) - 3 * (1 + 2 + 2), "one alone, two for workers, two ahead"
    assert flat(iter(first))[1] == alone[1][:6]
    chunks.close()  # type: ignore[attr-defined]
    assert multiprocessing.active_children() == []
    assert flat(iter(FileDecoder(files, SMALL, busy_cores=0))) == alone


@pytest.mark.parametrize(
    ("decoding", "calling", "count", "workers"),
    [
        (1.0, 0.0, 16, 16),  # a GPU does the rest
        (1.0, 1.0, 16, 8),
        (1.0, 99.0, 16, 0),  # a network that takes nearly all of the time
        (1.0, 2.2, 2, 1),  # ResNet-20 of CIFAR-10 on two cores
        (1.0, 0.0, 1, 0),
    ],
)
def test_the_cores_are_shared_by_the_work(
    decoding: float, calling: float, count: int, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_decoding, "cores", lambda: count)
    assert fair_workers(decoding, calling) == workers


def test_a_machine_that_is_busy_gets_no_further_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 4)
    for load, workers in ((4.0, 2), (4.1, 0)):
        monkeypatch.setattr("os.getloadavg", lambda load=load: (load, 0.0, 0.0))
        assert fair_workers(1.0, 0.0) == workers


def test_a_file_that_is_no_image_says_what_it_is(tmp_path: Path) -> None:
    for path, says in ((tmp_path, "is a folder without images"), (tmp_path / "x.png", "There is no image at")):
        with pytest.raises(InputError, match=says):
            read_image(path, SMALL)
    (tmp_path / "x.png").write_bytes(b"\x89PNG")
    with pytest.raises(InputError, match="cannot be read as an image"):
        read_image(tmp_path / "x.png", lambda path: np.asarray(SMALL(path)))
