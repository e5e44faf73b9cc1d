"""The arrows of the house: who may import whom, and which library lives where."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "onecycle_cli"

ROOMS = {
    "errors": set(),
    "names": set(),
    "progress": set(),
    "class_balance": set(),
    "schedule": {"errors"},
    "lr_range": {"errors"},
    "sweeps": {"errors", "recipe"},
    "tuning": {"batch_size"},
    "recipe": {"errors", "names"},
    "diagnosis": {"class_balance", "sweeps"},
    "comparison": {"recipe", "sweeps"},
    "batch_size": set(),
    "run_dir": {"errors", "names"},
    "figures": {"errors", "lr_range"},
    "console": {"errors", "progress", "run_dir"},
    "models": {"errors"},
    "weights": {"errors", "names"},
    "checkpoint": {"errors", "weights"},
    "interrupts": set(),
    "cores": set(),
    "data": {"errors", "progress", "schedule", "cores"},
    "optimizers": set(),
    "graphs": set(),
    "engine": {"errors", "class_balance", "schedule", "cores", "data", "optimizers", "graphs"},
    "inference": {"errors", "run_dir", "models", "weights", "data", "engine"},
    "experiments": {
        "errors",
        "progress",
        "class_balance",
        "schedule",
        "lr_range",
        "sweeps",
        "diagnosis",
        "comparison",
        "batch_size",
        "tuning",
        "recipe",
        "run_dir",
        "figures",
        "models",
        "weights",
        "checkpoint",
        "interrupts",
        "data",
        "optimizers",
        "graphs",
        "engine",
        "inference",
    },
}
"""Each room with the rooms it may import. `cli` may import all; nothing imports `cli`."""

LIBRARIES = {
    "typer": {"cli"},
    "rich": {"cli", "console"},
    "yaml": {"recipe"},
    "pydantic": {"recipe"},
    "matplotlib": {"figures"},
    "pandas": {"experiments"},
    "torch": {
        "cores",
        "data",
        "optimizers",
        "graphs",
        "engine",
        "models",
        "weights",
        "checkpoint",
        "inference",
        "experiments",
    },
    "torchvision": {"data", "models"},
    "sklearn": {"data"},
    "scipy": {"sweeps"},
    "PIL": {"data"},
    "safetensors": {"weights", "checkpoint"},
    "psutil": {"run_dir"},
}
"""Each library with the rooms it may be used in."""

LIGHT = {
    *(
        "errors",
        "names",
        "progress",
        "interrupts",
        "cores",
        "class_balance",
        "schedule",
        "sweeps",
        "diagnosis",
        "comparison",
        "batch_size",
        "tuning",
    ),
    *("run_dir", "console", "cli", "recipe"),
}
"""Rooms that load without numpy, torch and the like: what they need of them they import where they use it."""


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree: ast.Module, *, at_top: bool = False) -> Iterator[str]:
    """The modules that are imported, at any depth or at the top alone; not those for type checkers only."""
    nodes: Iterable[ast.AST] = tree.body if at_top else ast.walk(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            if node.module == "onecycle_cli":
                yield from (f"onecycle_cli.{alias.name}" for alias in node.names)
            else:
                yield node.module


FILES = {str(path.relative_to(PACKAGE)): path for path in sorted(PACKAGE.rglob("*.py"))}
INNER = {name: path for name, path in FILES.items() if room_of(path) not in ("__init__", "__main__", "cli")}


@pytest.mark.parametrize("name", INNER)
def test_a_room_imports_only_the_rooms_below_it(name: str) -> None:
    room = room_of(INNER[name])
    used = {
        module.split(".")[1]
        for module in imports(ast.parse(INNER[name].read_text()))
        if module.startswith("onecycle_cli.")
    }
    assert used - {"__version__", room} <= ROOMS[room]


@pytest.mark.parametrize("name", FILES)
def test_a_library_is_used_only_where_it_lives(name: str) -> None:
    room = room_of(FILES[name])
    for module in imports(ast.parse(FILES[name].read_text())):
        library = module.split(".")[0]
        assert room in LIBRARIES.get(library, {room}), f"{library} in {name}"


@pytest.mark.parametrize("name", [name for name, path in FILES.items() if room_of(path) in LIGHT])
def test_a_light_room_loads_no_large_library(name: str) -> None:
    top = {module.split(".")[0] for module in imports(ast.parse(FILES[name].read_text()), at_top=True)}
    assert not top & {"torch", "torchvision", "numpy", "pandas", "matplotlib", "scipy", "sklearn", "PIL"}


def test_the_arrows_go_round_in_no_circle() -> None:
    done: set[str] = set()
    while left := {room: below for room, below in ROOMS.items() if room not in done}:
        free = {room for room, below in left.items() if below <= done}
        assert free, f"these import each other: {sorted(left)}"
        done |= free


def test_every_room_is_in_the_plan() -> None:
    assert {room_of(path) for path in FILES.values()} == {*ROOMS, "cli", "__init__", "__main__"}


def test_every_module_has_a_test_of_the_same_name() -> None:
    """Tests mirror the rooms; a package's `__init__` and what has nothing to test have none."""
    tests = Path(__file__).parent
    without = {
        "errors.py",
        "progress.py",
        "__main__.py",
        "data/cache.py",
        "cli/options.py",
        "cli/new_run.py",
        "run_dir/files.py",
    }
    # Through recipe/reading.py, where their messages are made.
    without |= {"recipe/fields.py", "recipe/schedule_fields.py", "recipe/values.py"}
    expected = [Path(name) for name in FILES if not name.endswith("__init__.py") and name not in without]
    missing = [str(path) for path in expected if not (tests / path.parent / f"test_{path.name}").is_file()]
    assert missing == []
