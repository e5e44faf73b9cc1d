"""Files for other programs, read by those programs."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from onecycle_cli.errors import InputError, MachineError
from onecycle_cli.models import network_from
from onecycle_cli.models.export import ENTRY, FORMATS, Format, Normalized, read_back, written

METADATA = {"classes": ["cat", "\\xff", "中文"], "mean": [0.5, 0.25, 0.125], "image_size": 8, "value_range": None}
MEAN, STD = (0.5, 0.4, 0.3), (0.1, 0.2, 0.3)
SHAPE = (3, 8, 8)
ARGUMENTS = {
    "architecture": "resnet8",
    "width": 0.25,
    "shortcut_kind": "A",
    "dropout": 0.5,
    "channels": 3,
    "classes": 3,
}


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """A network whose batch norm has statistics."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = network_from(ARGUMENTS, seed=0)
        made.train()(torch.rand(32, *SHAPE))
    return made.to(memory_format=torch.channels_last).eval()


@pytest.fixture(scope="module")
def normalized(network: nn.Module) -> Normalized:
    return Normalized(network, MEAN, STD)


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def logits(normalized: Normalized, images: Tensor) -> Tensor:
    with torch.no_grad():
        return normalized(images)


@pytest.fixture
def old_torchscript() -> Iterator[None]:
    """torch says since 2.14 that torch.jit is deprecated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        yield


def test_the_normalization_is_the_textbook_one(network: nn.Module, images: Tensor, logits: Tensor) -> None:
    by_hand = torch.stack([(images[:, c] - MEAN[c]) / STD[c] for c in range(3)], 1)
    with torch.no_grad():
        assert torch.allclose(network(by_hand), logits, atol=1e-6)


def test_onnxruntime_gives_the_logits_of_batches_of_any_size(
    normalized: Normalized, images: Tensor, logits: Tensor, capfd: pytest.CaptureFixture[str]
) -> None:
    file = written(normalized, SHAPE, METADATA, FORMATS["onnx"])
    assert capfd.readouterr() == ("", "")
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    (taken,), (given,) = session.get_inputs(), session.get_outputs()
    assert (taken.name, taken.shape, given.name) == ("images", ["batch", *SHAPE], "logits")
    for count in (1, 5):
        (found,) = session.run(None, {"images": images[:count].numpy()})
        assert torch.allclose(torch.from_numpy(found), logits[:count], atol=1e-5)
    told = session.get_modelmeta().custom_metadata_map
    assert {name: json.loads(text) for name, text in told.items()} == METADATA
    assert b".py" not in file, "no paths of the machine that made it"


READ_ELSEWHERE = """
import json, sys, torch
sys.modules["onecycle_cli"] = None  # cannot be imported
extra = {"onecycle.json": ""}
network = torch.export.load(sys.argv[1], extra_files=extra).module()
images, logits = torch.load(sys.argv[2])
for count in (1, 5):
    assert torch.allclose(network(images[:count]), logits[:count], atol=1e-5)
print(extra["onecycle.json"])
"""


@pytest.mark.slow
def test_torch_export_is_read_without_this_package(
    normalized: Normalized, images: Tensor, logits: Tensor, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = written(normalized, SHAPE, METADATA, FORMATS["torch-export"])
    assert capfd.readouterr() == ("", "")
    (tmp_path / "net.pt2").write_bytes(file)
    torch.save((images, logits), tmp_path / "expected.pt")
    words = [sys.executable, "-I", "-c", READ_ELSEWHERE, "net.pt2", "expected.pt"]
    done = subprocess.run(
        words, cwd=tmp_path, env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == METADATA
    assert str(Path(__file__).parents[2]).encode() not in file


@pytest.mark.usefixtures("old_torchscript")
def test_torchscript_is_read_by_torch_jit_load(normalized: Normalized, images: Tensor, logits: Tensor) -> None:
    file = written(normalized, SHAPE, METADATA, FORMATS["torchscript"])
    extra: dict[str, Any] = {ENTRY: ""}
    loaded = torch.jit.load(BytesIO(file), _extra_files=extra)
    for count in (1, 5):
        assert torch.allclose(loaded(images[:count]), logits[:count], atol=1e-5)
    assert json.loads(extra[ENTRY]) == METADATA


def test_safetensors_has_the_names_of_the_network(network: nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(written(network, SHAPE, METADATA, FORMATS["safetensors"]))
    found = safetensors.torch.load_file(path)
    assert found.keys() == network.state_dict().keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in network.state_dict().items())
    with safetensors.safe_open(path, "pt") as opened:
        assert {name: json.loads(text) for name, text in opened.metadata().items()} == METADATA


def test_what_is_read_back_is_the_file_and_not_the_network(network: nn.Module, images: Tensor) -> None:
    form = FORMATS["safetensors"]
    file = written(network, SHAPE, METADATA, form)
    other = network_from(ARGUMENTS, seed=1)
    before = {name: tensor.clone() for name, tensor in other.state_dict().items()}
    with torch.no_grad():
        assert torch.allclose(read_back(file, other, form)(images), network(images), atol=1e-6)
    assert all(torch.equal(tensor, before[name]) for name, tensor in other.state_dict().items())


class Branches(nn.Module):
    """Its answer depends on a look at the values, which no graph can hold."""

    def forward(self, images: Tensor) -> Tensor:
        return images.flatten(1) if images.sum() > 0 else -images.flatten(1)


class OneBatchSize(nn.Module):
    """It was written for batches of two."""

    def forward(self, images: Tensor) -> Tensor:
        return images.reshape(2, -1)


@pytest.mark.parametrize("network", [Branches(), OneBatchSize()])
def test_a_network_that_a_format_cannot_express_is_an_error_in_a_few_lines(network: nn.Module) -> None:
    with pytest.raises(InputError, match="The network cannot be exported as torch-export: ") as told:
        written(network, SHAPE, {}, FORMATS["torch-export"])
    assert "\n" not in told.value.what
    assert "safetensors" in told.value.fix


def test_a_file_for_one_size_of_batch_is_an_error_when_it_gets_another() -> None:
    form = FORMATS["torchscript"]
    loaded = read_back(written(OneBatchSize(), SHAPE, {}, form), OneBatchSize(), form)
    assert loaded(torch.ones(2, *SHAPE)).shape == (2, 192)
    with pytest.raises(InputError, match="does not take a batch of 3 as torchscript: it gives 2 answers"):
        loaded(torch.ones(3, *SHAPE))


@pytest.mark.parametrize("form", FORMATS.values(), ids=FORMATS)
def test_a_damaged_file_is_an_error(form: Format, network: nn.Module) -> None:
    with pytest.raises(InputError, match=f"cannot be read back as {form.name}"):
        read_back(b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ", network, form)


def test_a_missing_package_is_told_with_the_line_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MachineError, match="The format onnx needs onnxscript, which cannot be imported") as told:
        FORMATS["onnx"].must_be_installed()
    assert told.value.fix == "Install it: pip install 'onecycle-cli[export]'."
    for name in ("torch-export", "torchscript", "safetensors"):
        FORMATS[name].must_be_installed()
