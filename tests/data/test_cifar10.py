"""CIFAR-10 from a small archive of the same make: the checks, the damage, and what is read."""

import hashlib
import http.server
import pickle
import tarfile
import threading
import urllib.request
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torchvision

from onecycle_cli.data.cifar10 import ARCHIVE, UNPACKED, check_cifar10, read_cifar10
from onecycle_cli.data.download import Archive
from onecycle_cli.errors import MachineError
from onecycle_cli.progress import silent

CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an archive of five batches of ten images and a test batch of ten, pickled as the original's."""
    folder = tmp_path_factory.mktemp("small")
    batches = folder / UNPACKED
    batches.mkdir()
    generator = np.random.default_rng(0)
    for number, name in enumerate([*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]):
        pixels = generator.integers(0, 256, (10, 3072), dtype=np.uint8)
        pixels[:, 0] = number  # the first pixel's red tells which batch it was
        (batches / name).write_bytes(pickle.dumps({"data": pixels, "labels": list(range(10))}, protocol=2))
    (batches / "batches.meta").write_bytes(pickle.dumps({"label_names": CLASSES}, protocol=2))
    with tarfile.open(folder / ARCHIVE.name, "w:gz") as tar:
        tar.add(batches, UNPACKED)
    return folder


@pytest.fixture
def archive(small: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    """The small archive on a server on loopback; torchvision is told the md5s of its files."""
    handler = partial(QuietHandler, directory=str(small))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def md5(path: Path) -> str:
        return hashlib.md5(path.read_bytes()).hexdigest()

    cifar10 = torchvision.datasets.CIFAR10
    for listing in ("train_list", "test_list"):
        monkeypatch.setattr(cifar10, listing, [[n, md5(small / UNPACKED / n)] for n, _ in getattr(cifar10, listing)])
    monkeypatch.setattr(cifar10, "meta", cifar10.meta | {"md5": md5(small / UNPACKED / "batches.meta")})
    file = small / ARCHIVE.name
    url = f"http://127.0.0.1:{server.server_address[1]}/{ARCHIVE.name}"
    yield Archive(ARCHIVE.name, file.stat().st_size, md5(file), (url,))
    server.shutdown()
    server.server_close()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


def test_it_is_fetched_checked_unpacked_and_read_in_order(tmp_path: Path, archive: Archive) -> None:
    found = read_cifar10(tmp_path, (), silent, archive)
    assert found.train.images.shape == (50, 32, 32, 3)
    assert found.train.images.dtype == np.uint8
    assert found.test.images.shape == (10, 32, 32, 3)
    assert found.valid is None
    assert found.train.images[:, 0, 0, 0].tolist() == [n for n in range(5) for _ in range(10)]
    assert found.test.images[:, 0, 0, 0].tolist() == [5] * 10
    assert found.train.labels.tolist() == list(range(10)) * 5
    assert found.classes == tuple(CLASSES)
    assert check_cifar10(tmp_path, archive) == tmp_path / archive.name


def test_it_is_not_fetched_again(tmp_path: Path, archive: Archive) -> None:
    read_cifar10(tmp_path, (), silent, archive)
    offline = Archive(archive.name, archive.size, archive.md5, ())
    assert len(read_cifar10(tmp_path, (), silent, offline).train) == 50


def test_an_archive_put_there_by_hand_is_enough(tmp_path: Path, archive: Archive, small: Path) -> None:
    (tmp_path / archive.name).write_bytes((small / archive.name).read_bytes())
    offline = Archive(archive.name, archive.size, archive.md5, ())
    assert len(read_cifar10(tmp_path, (), silent, offline).train) == 50


def test_a_damaged_archive_is_told_set_aside_and_fetched_again(tmp_path: Path, archive: Archive) -> None:
    (tmp_path / archive.name).write_bytes(b"damaged")
    with pytest.raises(MachineError, match="damaged"):
        check_cifar10(tmp_path, archive)
    news: list[object] = []
    assert len(read_cifar10(tmp_path, (), news.append, archive).train) == 50
    assert "is damaged" in str(news[0])
    assert (tmp_path / f"{archive.name}.damaged").read_bytes() == b"damaged"


def test_damaged_unpacked_files_are_unpacked_again(tmp_path: Path, archive: Archive) -> None:
    expected = read_cifar10(tmp_path, (), silent, archive)
    (tmp_path / UNPACKED / "data_batch_3").write_bytes(b"damaged")
    news: list[object] = []
    again = read_cifar10(tmp_path, (), news.append, archive)
    assert "unpacked again" in str(news[0])
    assert np.array_equal(again.train.images, expected.train.images)
    assert (tmp_path / f"{UNPACKED}.damaged" / "data_batch_3").read_bytes() == b"damaged"


def test_the_mirrors_of_the_recipe_are_asked_first(tmp_path: Path, archive: Archive) -> None:
    nowhere = Archive(archive.name, archive.size, archive.md5, ("http://127.0.0.1:9/",))
    assert len(read_cifar10(tmp_path, archive.urls, silent, nowhere).train) == 50


@pytest.mark.network
@pytest.mark.parametrize("url", ARCHIVE.urls)
def test_each_known_source_announces_the_archive_to_the_byte(url: str) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=30) as answer:
        assert int(answer.headers["Content-Length"]) == ARCHIVE.size


def test_with_no_network_it_says_where_to_put_the_archive_and_what_needs_none(tmp_path: Path) -> None:
    nowhere = Archive("x.tar.gz", 1, "0", ("http://127.0.0.1:9/",))
    with pytest.raises(MachineError) as caught:
        read_cifar10(tmp_path, (), silent, nowhere)
    assert str(tmp_path / "x.tar.gz") in caught.value.fix
    assert "`digits` needs no download" in caught.value.fix
    with pytest.raises(MachineError, match="is missing"):
        check_cifar10(tmp_path, nowhere)
