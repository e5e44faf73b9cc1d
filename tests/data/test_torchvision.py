"""Sets of torchvision: downloaded from a server on loopback, damaged, interrupted, and read."""

import gzip
import hashlib
import http.server
import io
import socket
import struct
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision
from PIL import Image

from onecycle_cli.data.cache import cache_folder
from onecycle_cli.data.torchvision import inventory, read, signature
from onecycle_cli.errors import InputError, MachineError
from onecycle_cli.progress import silent

Settings = Callable[..., Any]
LABELS = {"train": [3, 0, 3, 9, 0], "t10k": [9, 0]}


def idx_of(values: np.ndarray) -> bytes:
    """MNIST's file format: a magic number, the shape, and the bytes."""
    return struct.pack(f">{1 + values.ndim}I", 0x800 + values.ndim, *values.shape) + values.tobytes()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address of a server on loopback that serves it."""
    folder = tmp_path / "served"
    folder.mkdir()
    serving = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(folder)))
    threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield folder, f"http://127.0.0.1:{serving.server_address[1]}/"
    serving.shutdown()
    serving.server_close()


@pytest.fixture
def fashion(server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a server of FashionMNIST with five training and two test images, of the grey levels 0, 1, 2, ..."""
    folder, address = server
    resources = []
    for part, labels in LABELS.items():
        images = np.repeat(np.arange(len(labels), dtype=np.uint8), 64).reshape(-1, 8, 8)
        for name, values in ((f"{part}-images-idx3-ubyte", images), (f"{part}-labels-idx1-ubyte", labels)):
            content = gzip.compress(idx_of(np.array(values, dtype=np.uint8)))
            (folder / f"{name}.gz").write_bytes(content)
            resources.append((f"{name}.gz", hashlib.md5(content).hexdigest()))
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", [address])
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "resources", resources)
    return folder


def read_fashion(settings: Settings, news: list | None = None) -> Any:
    report = silent if news is None else news.append
    return read(settings(dataset="FashionMNIST", channels=1), report)


def test_a_set_is_downloaded_and_read_class_by_class(fashion: Path, settings: Settings) -> None:
    found = read_fashion(settings)
    assert found.classes == ("T-shirt/top", "Dress", "Ankle boot")  # the classes that have images
    assert found.train.images[:, 0, 0, 0].tolist() == [1, 4, 0, 2, 3]
    assert found.train.labels.tolist() == [0, 0, 1, 1, 2]
    assert found.test.images[:, 0, 0, 0].tolist() == [1, 0]
    assert found.valid is None
    assert found.signature == signature(settings(dataset="FashionMNIST")) == "torchvision FashionMNIST"
    assert inventory(settings(dataset="FashionMNIST")).counts["train", "Dress"] == 2
    for file in fashion.iterdir():
        file.unlink()
    assert len(read_fashion(settings).train) == 5  # nothing is downloaded twice


def test_a_broken_download_leaves_nothing_and_the_next_begins_again(fashion: Path, settings: Settings) -> None:
    whole = (fashion / "t10k-labels-idx1-ubyte.gz").read_bytes()
    (fashion / "t10k-labels-idx1-ubyte.gz").write_bytes(whole[:-3])
    with pytest.raises(MachineError, match="FashionMNIST could not be downloaded by torchvision"):
        read_fashion(settings)
    root = cache_folder() / "torchvision" / "FashionMNIST"
    assert not root.exists()
    (root.parent / f".{root.name}.downloading" / "FashionMNIST" / "raw").mkdir(parents=True)  # as after SIGKILL
    (fashion / "t10k-labels-idx1-ubyte.gz").write_bytes(whole)
    assert len(read_fashion(settings).test) == 2
    assert [path.name for path in root.parent.iterdir() if "downloading" in path.name] == []


@pytest.mark.usefixtures("fashion")
def test_a_damaged_set_is_set_aside_and_downloaded_again(settings: Settings) -> None:
    read_fashion(settings)
    raw = cache_folder() / "torchvision" / "FashionMNIST" / "FashionMNIST" / "raw" / "train-images-idx3-ubyte"
    raw.write_bytes(raw.read_bytes()[:-10])
    with pytest.raises(MachineError, match="FashionMNIST is damaged"):
        inventory(settings(dataset="FashionMNIST"))
    news: list[object] = []
    assert len(read_fashion(settings, news).train) == 5
    assert "is damaged, and is downloaded again" in str(news[0])
    assert (cache_folder() / "torchvision" / "FashionMNIST.damaged1").is_dir()


def test_with_no_network_it_says_what_to_copy_and_what_needs_none(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", ["http://127.0.0.1:9/"])
    with pytest.raises(MachineError) as caught:
        read_fashion(settings)
    assert "Connection refused" in caught.value.what
    assert str(cache_folder() / "torchvision" / "FashionMNIST") in caught.value.fix
    assert "`digits` needs no download" in caught.value.fix
    assert socket.getdefaulttimeout() is None
    with pytest.raises(MachineError, match="FashionMNIST is missing"):
        inventory(settings(dataset="FashionMNIST"))


@pytest.mark.usefixtures("fashion")
def test_two_threads_that_start_at_once_download_once(settings: Settings) -> None:
    news: list[object] = []
    threads = [threading.Thread(target=read_fashion, args=(settings, news)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len([one for one in news if "torchvision downloads" in str(one)]) == 1


def test_files_are_decoded_by_path_and_a_class_has_the_first_of_its_names(
    server: tuple[Path, str], settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, address = server
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        for split in ("train", "val"):
            for wnid, level in (("n02102040", 200), ("n01440764", 50)):
                for number in (1, 0):
                    image = io.BytesIO()
                    Image.new("RGB", (8, 8), (level + 20 * number,) * 3).save(image, "JPEG")
                    member = tarfile.TarInfo(f"imagenette2-160/{split}/{wnid}/{number}.jpeg")
                    member.size = len(image.getvalue())
                    tar.addfile(member, io.BytesIO(image.getvalue()))
    (folder / "imagenette2-160.tgz").write_bytes(file.getvalue())
    archive = (f"{address}imagenette2-160.tgz", hashlib.md5(file.getvalue()).hexdigest())
    archives = torchvision.datasets.Imagenette._ARCHIVES | {"160px": archive}
    monkeypatch.setattr(torchvision.datasets.Imagenette, "_ARCHIVES", archives)
    found = read(settings(dataset="Imagenette", variant="160px"), silent)
    assert found.classes == ("tench", "English springer")
    assert found.train.images[:, 0, 0, 0].tolist() == [50, 70, 200, 220]
    assert len(found.valid) == 4
    assert (cache_folder() / "torchvision" / "Imagenette-160px").is_dir()


def test_an_unknown_variant_is_refused_with_the_nearest(settings: Settings) -> None:
    with pytest.raises(InputError, match="EMNIST of torchvision has no variant 'balancd'") as caught:
        signature(settings(dataset="EMNIST", variant="balancd"))
    assert caught.value.fix.startswith("Did you mean 'balanced'? The variants are balanced, byclass,")
    with pytest.raises(InputError) as caught:
        signature(settings(dataset="SVHN", variant="x"))
    assert caught.value.fix == "Leave data.variant out."
    assert signature(settings(dataset="EMNIST")) == "torchvision EMNIST-balanced"
