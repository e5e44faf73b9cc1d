"""The public names of the package: which they are, that each is there, and that asking for none loads nothing large."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import onecycle_cli

PACKAGE = Path(onecycle_cli.__file__).parent

NAMES = {
    *("suggest", "Suggestion", "RangeTest"),
    *("one_cycle", "triangular", "cosine", "constant", "multistep", "LrMomentum", "torch_scheduler"),
    *("load_recipe", "find_lr", "train", "open_run", "load_model"),
    *("OnecycleError", "InputError", "MachineError", "NoSuggestionError"),
    "__version__",
}
"""A name that is taken away breaks the programs of others: it goes out of this list with a reason."""


def loaded_by(code: str) -> set[str]:
    """The large libraries that a fresh process has loaded after `code`."""
    large = "{'torch', 'torchvision', 'numpy', 'pandas', 'matplotlib', 'scipy', 'sklearn', 'pydantic', 'typer'}"
    program = f"import sys\n{code}\nprint(*sorted({large} & {{*sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_exported_names_are_these() -> None:
    assert set(onecycle_cli.__all__) == NAMES
    assert onecycle_cli.__all__ == sorted(onecycle_cli.__all__)
    assert set(onecycle_cli.__all__) <= set(dir(onecycle_cli))


@pytest.mark.parametrize("name", sorted(NAMES - {"__version__"}))
def test_each_name_is_that_of_its_home_and_says_what_it_is(name: str) -> None:
    value = getattr(onecycle_cli, name)
    home = import_module(f"onecycle_cli.{onecycle_cli._HOMES[name]}")
    assert value is getattr(home, name)
    assert value.__doc__
    assert value.__name__ == name


def test_type_checkers_see_the_same_names_from_the_same_homes() -> None:
    tree = ast.parse((PACKAGE / "__init__.py").read_text())
    (block,) = (node for node in tree.body if isinstance(node, ast.If))
    seen = {
        alias.name: node.module.removeprefix("onecycle_cli.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == onecycle_cli._HOMES
    assert {*seen, "__version__"} == NAMES


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'sugest'"):
        _ = onecycle_cli.sugest


def test_importing_the_package_loads_no_large_library() -> None:
    assert loaded_by("import onecycle_cli") == set()


def test_what_needs_no_torch_loads_none() -> None:
    assert loaded_by("import onecycle_cli as o; o.one_cycle(100, 0.1)(3); o.InputError, o.LrMomentum") == set()
    assert "torch" not in loaded_by("import onecycle_cli as o; o.suggest([0.1, 0.2], [1, 2])")
    tried = "import onecycle_cli as o; t = o.RangeTest(1e-4, 1); next(t); t.record(1.0); t.suggest()"
    assert "torch" not in loaded_by(tried)
    assert "torch" not in loaded_by("import onecycle_cli as o; o.load_recipe('digits')")


def test_the_package_says_that_it_is_typed() -> None:
    assert (PACKAGE / "py.typed").is_file()
