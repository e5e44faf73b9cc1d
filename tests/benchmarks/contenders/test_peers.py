import importlib.util
import json
import subprocess
import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[3] / "benchmarks" / "contenders" / "peers.py"


@pytest.fixture
def images(image_folder: Callable[..., Path]) -> Path:
    return image_folder("train/cat", "train/dog", "test/cat", "test/dog", images=8, size=(32, 32))


@pytest.mark.parametrize(
    ("peer", "measured"),
    [
        ("fastai", {"train", "range_test"}),
        ("lightning", {"train", "range_test"}),
        ("torch-lr-finder", {"range_test"}),
    ],
)
def test_a_peer_is_timed(images: Path, peer: str, measured: set[str]) -> None:
    if importlib.util.find_spec(peer.replace("-", "_")) is None:
        pytest.skip("needs the extra benchmark")
    words: list[str | Path] = [peer, "--data", images, "--batch-size", "4", "--range-steps", "5", "--workers", "0"]
    done = subprocess.run([sys.executable, SCRIPT, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found) == measured | {"peak_bytes"}
    assert all(value > 0 for value in found.values())


def test_the_peers_are_named_and_explained(start: Callable[..., str]) -> None:
    with pytest.raises(SystemExit) as end:
        start("contenders/peers.py", "--help")
    assert end.value.code == 0


def test_the_peers_see_batches_of_the_same_images(module: Callable[[str], ModuleType], images: Path) -> None:
    train, valid = module("peers")._loaders(Namespace(data=images, batch_size=3, workers=0))
    assert [len(labels) for _, labels in train] == [3] * 5
    assert [len(labels) for _, labels in valid] == [3] * 5 + [1]
