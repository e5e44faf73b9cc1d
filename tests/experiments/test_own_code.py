"""Code of the user: whether it may run, its hash, and the copy that a run keeps."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.own_code import NETWORK_SHA256, keep_code, must_be_trusted, own_code_settings
from onecycle_cli.models import NO_CODE, OwnCode
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.run import RunDir

Tiny = Callable[..., Recipe]


@pytest.fixture
def net(tmp_path: Path) -> Path:
    """A file with other line ends than ours and a byte that is not UTF-8."""
    file = tmp_path / "net.py"
    file.write_bytes(b"# -*- coding: latin-1 -*-\r\n# caf\xe9\r\ndef f(channels, classes): pass\r\n")
    return file


@pytest.fixture
def own(tiny: Tiny, net: Path) -> Recipe:
    return tiny({"model": {"source": "module", "function": f"{net}:f"}})


@pytest.fixture
def run(tmp_path: Path, own: Recipe) -> RunDir:
    return RunDir.create(tmp_path, command="train", recipe_name="r", recipe_yaml=to_yaml(own), facts={}, name="r")


def test_the_copy_has_every_byte_of_the_file_so_it_can_be_put_back(own: Recipe, net: Path, run: RunDir) -> None:
    content = net.read_bytes()
    keep_code(own, run)
    assert (run.path / "network.py").read_bytes() == content
    assert run.facts[NETWORK_SHA256] == hashlib.sha256(content).hexdigest()
    net.write_bytes(b"changed")
    with pytest.raises(InputError, match=r"net.py has changed since the run began"):
        keep_code(own, run)
    assert (run.path / "network.py").read_bytes() == content
    net.write_bytes((run.path / "network.py").read_bytes())
    keep_code(own, run)


def test_networks_of_other_sources_have_nothing_to_keep(tiny: Tiny, run: RunDir) -> None:
    package = tiny({"model": {"source": "module", "function": "torchvision.models:resnet18"}})
    for recipe in (tiny(), package):
        keep_code(recipe, run)
    assert not (run.path / "network.py").exists()
    assert NETWORK_SHA256 not in run.facts
    assert own_code_settings(tiny()) == {}
    assert own_code_settings(package) == {NETWORK_SHA256: None}


def test_the_hash_is_a_setting_that_changes_with_the_file(own: Recipe, net: Path) -> None:
    before = own_code_settings(own)
    net.write_bytes(net.read_bytes() + b"#")
    assert own_code_settings(own) != before


def test_a_function_must_be_trusted_and_an_object_must_be_given(tiny: Tiny, own: Recipe) -> None:
    given = tiny({"model": {"source": "python", "class_name": "Net"}})
    for code in (None, NO_CODE):
        with pytest.raises(InputError, match="--trust-code"):
            must_be_trusted(own, code)
        with pytest.raises(InputError, match="an object of class Net that was given in Python"):
            must_be_trusted(given, code)
        must_be_trusted(tiny(), code)
    must_be_trusted(own, OwnCode(trusted=True))
    must_be_trusted(given, OwnCode(network=nn.Linear(1, 1)))
