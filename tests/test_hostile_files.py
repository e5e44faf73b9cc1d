"""Files that were made to do harm: no pickle runs, no archive leaves its folder, nothing unasked is fetched."""

import io
import json
import os
import pickle
import re
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import Result

from onecycle_cli.data import cifar10
from onecycle_cli.data.download import Archive, md5_of
from onecycle_cli.errors import InputError
from onecycle_cli.models.sources.torchvision import pretrained
from onecycle_cli.progress import silent

Command = Callable[..., Result]
TRACE = "was-here"


class Harmless:
    """Unpickled, it makes a file: a crafted pickle could do anything instead."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (TRACE,)


def bare(path: Path) -> None:
    path.write_bytes(pickle.dumps(Harmless(), protocol=2))


def of_torch(path: Path) -> None:
    torch.save({"model.head.weight": Harmless()}, path)


def of_numpy(path: Path) -> None:
    import numpy as np

    with path.open("wb") as file:
        np.save(file, np.array([Harmless()], dtype=object), allow_pickle=True)


CRAFTED = pytest.mark.parametrize("crafted", [bare, of_torch, of_numpy])


@pytest.fixture
def trained(trained: str) -> Path:
    """A folder of the finished training for this test alone."""
    return Path("runs") / trained


def forge(run: Path, **facts: Any) -> None:
    """Takes the checksums out of run.json, as one who made the files to do harm could, and changes facts in it."""
    own = json.loads((run / "run.json").read_text())
    kept = {name: value for name, value in own.items() if name not in ("files", "sha256")}
    (run / "run.json").write_text(json.dumps(kept | facts))


@CRAFTED
@pytest.mark.parametrize(
    "command",
    [
        ["evaluate", "runs/trained"],
        ["predict", "runs/trained", "image.png"],
        ["train", "digits", "--max-lr", "0.1", "--init", "runs/trained"],
        ["train", "digits", "--max-lr", "0.1", "--init", "runs/trained/model.safetensors"],
    ],
)
def test_weights_that_are_a_pickle_are_refused_and_run_nothing(
    onecycle: Command, trained: Path, crafted: Callable[[Path], None], command: list[str]
) -> None:
    Path("image.png").touch()
    crafted(trained / "model.safetensors")
    forge(trained)
    refused = onecycle(*command)
    assert (refused.exit_code, Path(TRACE).exists()) == (2, False), refused.exception
    assert "does not hold weights that onecycle saved" in refused.stderr


@CRAFTED
def test_a_checkpoint_that_is_a_pickle_is_refused_and_runs_nothing(
    onecycle: Command, trained: Path, crafted: Callable[[Path], None]
) -> None:
    for checkpoint in trained.glob("checkpoint-*"):
        crafted(checkpoint)
    forge(trained, status="interrupted")
    refused = onecycle("train", "--resume", trained)
    assert (refused.exit_code, Path(TRACE).exists()) == (2, False)
    assert re.search(r"checkpoint-\d+\.safetensors is damaged", refused.stderr)


@CRAFTED
def test_decoded_images_that_are_a_pickle_are_decoded_again(
    onecycle: Command, image_folder: Callable[..., Path], tiny_digits: list[str], crafted: Callable[[Path], None]
) -> None:
    folder = image_folder("a", "b", images=20)
    words = ["train", *tiny_digits, *("--set", "data.source=image_folder", "--set", f"data.path={folder}")]
    words += ["--set", "data.batch_size=4"]
    assert "decoding" in onecycle(*words).stderr
    for cached in Path("photos.onecycle-cache").glob("*/images.npy"):
        crafted(cached)
    again = onecycle(*words)
    assert again.exit_code in (0, 3)
    assert "decoding" in again.stderr
    assert not Path(TRACE).exists()


@pytest.mark.parametrize("crafted", [bare, of_torch])
def test_imagenet_weights_that_are_a_pickle_are_refused_and_run_nothing(
    imagenet: dict[str, Any], crafted: Callable[[Path], None]
) -> None:
    assert imagenet
    crafted(Path(os.environ["TORCH_HOME"]) / "hub" / "checkpoints" / "resnet18-f37072fd.pth")
    with pytest.raises(InputError, match="does not hold the ImageNet weights of resnet18"):
        pretrained("resnet18", 32, silent)
    assert not Path(TRACE).exists()


def test_the_pickles_would_have_run(tmp_path: Path) -> None:
    bare(tmp_path / "bare")
    pickle.loads((tmp_path / "bare").read_bytes())
    assert Path(TRACE).is_dir()
    Path(TRACE).rmdir()
    of_torch(tmp_path / "torch")
    torch.load(tmp_path / "torch", weights_only=False)
    assert Path(TRACE).is_dir()


def member(name: str, **kind: Any) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    for field, value in kind.items():
        setattr(found, field, value)
    return found


@pytest.mark.skipif(not hasattr(tarfile, "data_filter"), reason="tarfile filters came with Python 3.11.4")
@pytest.mark.parametrize(
    "members",
    [
        [member("../outside")],
        [member("cifar-10-batches-py/../../outside")],
        [member("link", type=tarfile.SYMTYPE, linkname=".."), member("link/outside")],
        [member("link", type=tarfile.LNKTYPE, linkname="../../outside")],
        [member("device", type=tarfile.CHRTYPE)],
    ],
)
def test_an_archive_cannot_leave_its_folder(tmp_path: Path, members: list[tarfile.TarInfo]) -> None:
    inside = tmp_path / "data" / "cifar10"
    inside.mkdir(parents=True)
    with tarfile.open(inside / "crafted.tar.gz", "w:gz") as tar:
        for one in members:
            tar.addfile(one, io.BytesIO())
    crafted = Archive("crafted.tar.gz", 1, md5_of(inside / "crafted.tar.gz"), ())
    with pytest.raises(tarfile.FilterError):
        cifar10.read_cifar10(inside, (), silent, crafted)
    assert {path.name for path in (tmp_path / "data").iterdir()} == {"cifar10"}
    assert {path.name for path in inside.iterdir()} <= {"crafted.tar.gz", ".lock", ".unpacking"}
    assert not any(path.is_symlink() and path.name == "outside" for path in inside.rglob("*"))


def test_nothing_is_fetched_that_the_recipe_does_not_name(
    onecycle: Command, monkeypatch: pytest.MonkeyPatch, image_folder: Callable[..., Path], tiny_digits: list[str]
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(socket, "getaddrinfo", lambda *words, **_: asked.append(words))
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: asked.append(address))
    folder = image_folder("a", "b", images=20)
    photos = {"source": "image_folder", "path": folder, "batch_size": 4}
    settings = [word for field, value in photos.items() for word in ("--set", f"data.{field}={value}")]
    for words in (
        ["find-lr", *tiny_digits],
        ["train", *tiny_digits, "--name", "trained"],
        ["evaluate", "trained"],
        ["train", *tiny_digits, *settings],
        ["runs"],
        ["recipes"],
    ):
        assert onecycle(*words).exit_code in (0, 3, 4)
    assert asked == []
