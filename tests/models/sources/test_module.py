"""Networks of one's own: the function in a file or a package, only if it is trusted, and what can be wrong with it."""

import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from onecycle_cli.errors import InputError
from onecycle_cli.models import NO_CODE, OwnCode, network_from
from onecycle_cli.models.sources.module import (
    ModuleSpec,
    build,
    in_words,
    load_function,
    own_arguments,
    source_file,
    source_hash,
    trained_before,
)
from onecycle_cli.recipe.model_fields import ModuleModelSettings

TRUSTED = OwnCode(trusted=True)
TINY = """from torch import nn

def tiny(channels, classes, width=4):
    return nn.Sequential(nn.Conv2d(channels, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(width * 36, classes))
"""


@pytest.fixture
def net(tmp_path: Path) -> Path:
    file = tmp_path / "net.py"
    file.write_text(TINY)
    return file


def built(function: str, code: OwnCode = TRUSTED, **arguments: object) -> nn.Module:
    return build(function=function, arguments=arguments, channels=1, classes=3, code=code)


def test_the_function_gets_the_channels_the_classes_and_its_arguments(net: Path) -> None:
    model = built(f"{net}:tiny", width=5)
    assert model.get_parameter("0.weight").shape == (5, 1, 3, 3)
    assert model.get_parameter("3.weight").shape == (3, 5 * 36)
    assert in_words({"function": "net.py:tiny"}) == "the network of net.py:tiny"


def test_the_settings_of_a_recipe_are_the_arguments_and_the_hash_of_the_file(net: Path) -> None:
    spec: ModuleSpec = ModuleModelSettings(source="module", function=f"{net}:tiny", arguments={"width": 2})
    own = own_arguments(spec, image_size=8)
    assert own == {"function": f"{net}:tiny", "arguments": {"width": 2}, "sha256": source_hash(f"{net}:tiny")}
    assert len(own["sha256"]) == 64
    trained_before_is_none: object = trained_before(spec, channels=1, image_size=8, report=pytest.fail)  # type: ignore[func-returns-value]
    assert trained_before_is_none is None


def test_nothing_of_it_runs_without_trust(net: Path) -> None:
    net.write_text("raise SystemExit('it ran')")
    with pytest.raises(InputError, match="is code that is not part of onecycle: .*net.py:tiny") as caught:
        built(f"{net}:tiny", NO_CODE)
    assert "--trust-code" in caught.value.fix
    with pytest.raises(InputError, match="is code that is not part of onecycle: os:getcwd"):
        load_function("os:getcwd", NO_CODE)
    assert len(source_hash(f"{net}:tiny") or "") == 64  # reading the file is not running it


def test_a_file_that_has_changed_since_is_refused_before_it_runs(net: Path) -> None:
    own = {"function": f"{net}:tiny", "arguments": {}, "sha256": source_hash(f"{net}:tiny")}
    network_from({"source": "module", **own, "channels": 1, "classes": 3}, seed=0, code=TRUSTED)
    net.write_text("raise SystemExit('it ran')")
    with pytest.raises(InputError, match=r"net.py has changed since the run began"):
        network_from({"source": "module", **own, "channels": 1, "classes": 3}, seed=0, code=TRUSTED)


def test_a_function_in_a_package_is_imported_by_name() -> None:
    assert load_function("torchvision.models:squeezenet1_1", TRUSTED).__name__ == "squeezenet1_1"
    assert source_file("torchvision.models:squeezenet1_1") is None
    assert source_hash("torchvision.models:squeezenet1_1") is None


def test_a_file_may_import_the_files_beside_it_and_define_classes(tmp_path: Path) -> None:
    (tmp_path / "layers_beside.py").write_text("from torch import nn\n\nHead = nn.Linear\n")
    (tmp_path / "net.py").write_text(
        "from dataclasses import dataclass\nfrom layers_beside import Head\nfrom torch import nn\n\n"
        "@dataclass\nclass Settings:\n    width: int = 4\n\n"
        "def tiny(channels, classes):\n    return nn.Sequential(nn.Flatten(), Head(64 * channels, classes))\n"
    )
    before = list(sys.path)
    assert built(f"{tmp_path}/net.py:tiny")(torch.zeros(2, 1, 8, 8)).shape == (2, 3)
    assert sys.path == before
    del sys.modules["layers_beside"]


def test_it_may_view_its_images_which_are_row_major(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\nclass Net(nn.Module):\n    def __init__(self, inputs, classes):\n"
        "        super().__init__()\n        self.head = nn.Linear(inputs, classes)\n\n"
        "    def forward(self, x):\n        return self.head(x.view(len(x), -1))\n\n"
        "def tiny(channels, classes):\n    return Net(channels * 64, classes)\n"
    )
    images = torch.randn(2, 3, 8, 8).to(memory_format=torch.channels_last)
    model = build(function=f"{tmp_path}/net.py:tiny", arguments={}, channels=3, classes=3, code=TRUSTED)
    assert model(images).shape == (2, 3)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def tiny(channels, classes): return 3", "returned int, not a torch.nn.Module"),
        ("from torch import nn\ndef tiny(channels, classes): return nn.Linear", "returned type, not a torch.nn.Module"),
        ("from torch import nn\ndef tiny(channels, classes): return nn.ReLU()", "a network without parameters"),
        ("def tiny(channels, classes):\n  x = 1\n  raise KeyError('no')", "raised KeyError: 'no' .*net.py, line 3"),
        ("def tiny(): pass", "raised TypeError: .*unexpected keyword"),
        ("def other(channels, classes): pass\nclass Net: pass", "has no function tiny"),
        ("tiny = 3", "has no function tiny"),
        ("import nothing_like_it", "cannot be imported: it raised ModuleNotFoundError: .*net.py, line 1"),
        ("def tiny(:", "cannot be imported: it raised SyntaxError: .*net.py, line 1"),
        ("raise SystemExit(3)", "cannot be imported: it raised SystemExit: 3"),
        ("\n\n1 / 0", "cannot be imported: it raised ZeroDivisionError: .*net.py, line 3"),
    ],
)
def test_what_is_wrong_with_a_function_is_told_with_its_line(net: Path, text: str, says: str) -> None:
    net.write_text(text)
    modules = set(sys.modules)
    with pytest.raises(InputError, match=says) as caught:
        built(f"{net}:tiny")
    assert caught.value.fix
    if "cannot be imported" in says:
        assert set(sys.modules) == modules


def test_a_missing_file_or_package_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no file .*nowhere.py"):
        built(f"{tmp_path}/nowhere.py:tiny")
    with pytest.raises(InputError, match="no.such.package cannot be imported: it raised ModuleNotFoundError"):
        built("no.such.package:tiny")
    assert source_file(f"{tmp_path}/nowhere.py:tiny") is None


@pytest.mark.parametrize("code", ["raise MemoryError", "def tiny(channels, classes): raise MemoryError"])
def test_a_lack_of_memory_is_not_blamed_on_the_code(net: Path, code: str) -> None:
    net.write_text(code)
    with pytest.raises(MemoryError):
        built(f"{net}:tiny")
