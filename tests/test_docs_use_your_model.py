"""The programs of docs/use-your-model.md run as they stand, without this package, and answer as `predict` does.

They run in this process, where torch is imported already; tests/models/test_export.py reads a file in another one.
"""

import contextlib
import io
import re
import runpy
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from typer.testing import Result

PAGE = (Path(__file__).parent.parent / "docs" / "use-your-model.md").read_text()
PROGRAMS = dict(re.findall(r"^### (.+?)\n.*?^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))
FORMATS = {"onnxruntime": "onnx", "PyTorch: torch.export": "torch-export", "PyTorch: TorchScript": "torchscript"}
MOST_LINES = 30


@pytest.fixture
def images() -> list[str]:
    """Some digits as files, one of them wider than high."""
    digits, _ = load_digits(return_X_y=True)
    for number in range(6):
        pixels = np.rint(digits[number].reshape(8, 8) * (255 / 16)).astype(np.uint8)
        image = Image.fromarray(pixels)
        (image if number else image.resize((24, 16))).save(f"{number}.png")
    return [f"{number}.png" for number in range(6)]


def answers(name: str, model: str, images: list[str]) -> list[list[str]]:
    """What a program prints, which cannot import this package: an image and its class a line."""
    Path("program.py").write_text(PROGRAMS[name])
    printed = io.StringIO()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings(action="ignore"):
        patch.setattr(sys, "argv", ["program.py", model, *images])
        for imported in [one for one in sys.modules if one.split(".")[0] == "onecycle_cli"]:
            patch.delitem(sys.modules, imported)
        patch.setitem(sys.modules, "onecycle_cli", None)
        with contextlib.redirect_stdout(printed):
            runpy.run_path("program.py", run_name="__main__")
    return [line.split() for line in printed.getvalue().splitlines()]


def predicted(onecycle: Callable[..., Result], run: str, images: list[str]) -> list[list[str]]:
    return [
        line.split(",")[:2] for line in onecycle("predict", run, *images, "--format", "csv").stdout.splitlines()[1:]
    ]


def test_there_is_a_program_for_each_format() -> None:
    assert set(PROGRAMS) == {*FORMATS, "timm"}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_fits_on_a_screen(name: str) -> None:
    assert len(PROGRAMS[name].splitlines()) < MOST_LINES


@pytest.mark.parametrize("name", FORMATS)
def test_a_program_answers_as_predict_does(
    onecycle: Callable[..., Result], trained: str, images: list[str], name: str
) -> None:
    exported = onecycle("export", trained, "--format", FORMATS[name], "--check-images", 50, "--quiet")
    assert exported.exit_code == 0, exported.stderr
    assert answers(name, exported.stdout.strip(), images) == predicted(onecycle, trained, images)


@pytest.mark.slow
def test_timm_loads_the_weights_by_its_own_names(onecycle: Callable[..., Result], images: list[str]) -> None:
    network = {"model.source": "timm", "model.architecture": "resnet10t"}
    settings = network | {"data.image_size": 32, "data.batch_size": 256, "schedule.epochs": 1, "schedule.max_lr": 0.01}
    settings |= {"runtime.device": "cpu", "runtime.precision": "float32"}
    words = [word for field, value in settings.items() for word in ("--set", f"{field}={value}")]
    assert onecycle("train", "digits", *words, "--name", "timm").exit_code in (0, 3)
    exported = onecycle("export", "timm", "--format", "safetensors", "--check-images", 50, "--quiet")
    assert exported.exit_code == 0, exported.stderr
    assert answers("timm", exported.stdout.strip(), images) == predicted(onecycle, "timm", images)


def test_the_page_explains_every_entry_of_the_metadata(onecycle: Callable[..., Result], trained: str) -> None:
    import json

    done = onecycle("export", trained, "--format", "safetensors", "--check-images", 1, "--json")
    for entry in json.loads(done.stdout)["metadata"]:
        assert re.search(rf"^\|.*`{entry}`.*\|", PAGE, re.MULTILINE), entry
