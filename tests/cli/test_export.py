"""`export`."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
from typer.testing import Result

Command = Callable[..., Result]


def test_it_prints_what_was_written_and_how_it_was_checked(onecycle: Command, trained: str) -> None:
    result = onecycle("export", trained, "--format", "torchscript")
    assert result.exit_code == 0, result.stderr
    told = dict(line.split("  ", 1) for line in result.stdout.splitlines())
    told = {name: value.strip() for name, value in told.items()}
    assert told["file"] == "runs/trained/exported-model.torchscript"
    assert told["format"] == f"torchscript, {Path(told['file']).stat().st_size:,} bytes"
    assert told["input"] == "images: float32 (N, 1, 8, 8), grey, from 0 to 1"
    assert told["checked on"] == "360 images, held out for validation"
    assert told["same class"] == "360 of 360"
    assert result.stderr == "checking 360/360 images\n"
    again = onecycle("export", trained, "--format", "torchscript")
    assert again.exit_code == 2
    assert "exists already" in again.stderr
    assert "Name a new file, or remove it first" in again.stderr


def test_quiet_prints_the_path_and_json_one_object(onecycle: Command, trained: str) -> None:
    words = ("export", trained, "--format", "safetensors", "--check-images", "10")
    result = onecycle(*words, "--quiet")
    assert (result.stdout, result.stderr) == ("runs/trained/exported-model.safetensors\n", "")
    found = json.loads(onecycle(*words, "--output", "net.safetensors", "--json").stdout)
    assert found["file"] == "net.safetensors"
    assert found["metadata"]["classes"] == list("0123456789")
    assert (found["check"]["images"], found["check"]["same_class"]) == (10, 10)
    ours = safetensors.torch.load_file("runs/trained/model.safetensors")
    assert safetensors.torch.load_file("net.safetensors").keys() == ours.keys()


def test_onnx_without_its_packages_says_how_to_install_them(
    onecycle: Command, trained: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = onecycle("export", trained, "--format", "onnx")
    assert result.exit_code == 5
    assert "pip install 'onecycle-cli[export]'" in result.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nowhere", "--format", "onnx"), "is not a run"),
        (("trained", "--format", "onnx", "--best"), "holds no best.safetensors"),
        (("trained", "--format", "pickle"), "It is onnx, torch-export, torchscript or safetensors"),
        (("trained", "--format", "safetensors", "--normalization", "inside"), "mean and std are in the header"),
        (("trained", "--format", "onnx", "--output", "nowhere/x.onnx"), "There is no folder nowhere"),
    ],
)
@pytest.mark.usefixtures("trained")
def test_what_cannot_be_is_told(onecycle: Command, words: tuple[str, ...], says: str) -> None:
    result = onecycle("export", *words)
    assert result.exit_code == 2
    assert says in result.stderr
    assert result.stdout == ""
