"""The arrows of the house: who may import whom, and which library lives where."""

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "onecycle_cli"

ROOMS = {
    "errors": set(),
    "progress": set(),
    "schedules": {"errors"},
    "recipe": {"errors", "schedules"},
    "run_dir": {"errors"},
    "analysis": {"errors", "recipe"},
    "figures": {"errors", "analysis"},
    "models": {"errors", "progress"},
    "data": {"errors", "progress"},
    "training": {"errors", "schedules", "analysis", "models", "data"},
    "experiments": {
        *("errors", "progress", "schedules", "recipe", "run_dir", "analysis", "figures", "models", "data", "training"),
    },
}
"""Each room with the rooms it may import. `cli` may import all; nothing imports `cli`."""

MOST_ROOMS = 12
"""Rooms at the top of the package, `cli` among them: a stranger reads their names and knows where a thing goes."""

EXPERIMENTS = [
    {"own_code"},
    {"next_commands"},
    {
        *("session", "memory", "planning", "initial_weights", "tune_report", "saved_run", "run_links"),
        *("classifier", "curve_file", "train_batches", "ray_cluster", "report_parts", "sending"),
    },
    {"following"},
    {"drawing", "suggestions", "recipe_images"},
    {"trainers", "diagnose", "compare", "own_loop", "report_results", "terminal_curve", "run_progress"},
    {"prepared_recipe", "report_curves", "run_page"},
    {"kept_images", "checkpoints", "staged_steps", "verification", "batch_size", "batch_picture", "report"},
    {"range_test", "training_summary", "data_check", "evaluate", "export", "tune_plan", "network", "report_server"},
    {"training"},
    {"cells", "resume"},
    {"cell_work", "ownership"},
    {"cell_processes", "ray_files"},
    {"ray_node"},
    {"ray_cells"},
    {"cell_runs", "sweep_plan"},
    {"sweep", "tune"},
    {"weight_decay", "library", "reproduce"},
]
"""The files of `experiments/` in layers: each imports files of the layers above it in this list alone."""

LIBRARIES = {
    "typer": {"cli"},
    "rich": {"cli"},
    "yaml": {"recipe"},
    "pydantic": {"recipe"},
    "matplotlib": {"figures"},
    "plotille": {"figures"},
    "pandas": {"experiments"},
    "torch": {"data", "training", "models", "experiments"},
    "torchvision": {"data", "models"},
    "sklearn": {"data"},
    "scipy": {"analysis"},
    "PIL": {"data"},
    "safetensors": {"models", "training"},
    "psutil": {"run_dir"},
    "timm": {"models"},
    "onnx": {"models"},
    "onnxruntime": {"models"},
    "pyarrow": {"data"},
    "ray": {"experiments"},
    "jinja2": {"figures"},
    "markupsafe": {"figures"},
    "vl_convert": {"figures"},
    "tensorboard": {"run_dir"},
    "mlflow": {"run_dir"},
    "wandb": {"run_dir"},
}
"""Each library with the rooms it may be used in."""

LIGHT = {"errors", "progress", "schedules", "run_dir", "cli", "recipe"}
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


@pytest.fixture(scope="module")
def trees() -> dict[str, ast.Module]:
    """Each file, read once."""
    return {name: ast.parse(path.read_text()) for name, path in FILES.items()}


def test_a_room_imports_only_the_rooms_below_it(trees: dict[str, ast.Module]) -> None:
    for name, path in INNER.items():
        room = room_of(path)
        used = {module.split(".")[1] for module in imports(trees[name]) if module.startswith("onecycle_cli.")}
        assert used - {"__version__", room} <= ROOMS[room], name


def test_a_library_is_used_only_where_it_lives(trees: dict[str, ast.Module]) -> None:
    for name, path in FILES.items():
        room = room_of(path)
        for module in imports(trees[name]):
            library = module.split(".")[0]
            assert room in LIBRARIES.get(library, {room}), f"{library} in {name}"


LIGHT_FILES = [
    name
    for name, path in FILES.items()
    if room_of(path) in LIGHT or (name.startswith("analysis/") and not name.startswith("analysis/lr_range/"))
]


def test_a_light_room_loads_no_large_library(trees: dict[str, ast.Module]) -> None:
    for name in LIGHT_FILES:
        top = {module.split(".")[0] for module in imports(trees[name], at_top=True)}
        assert not top & {"torch", "torchvision", "numpy", "pandas", "matplotlib", "scipy", "sklearn", "PIL"}, name
        assert not top & {"tensorboard", "mlflow", "wandb"}, name


def test_only_the_commands_report_and_reproduce_load_the_report(trees: dict[str, ast.Module]) -> None:
    """Not even they before it is written: help stays quick, and needs none of its packages."""
    own, lazy = (
        ("onecycle_cli.experiments.report", "onecycle_cli.figures.report"),
        ("cli/report", "experiments/reproduce"),
    )
    parts = [name for name in FILES if name.startswith(("experiments/report", "figures/report/"))]
    assert len(parts) > 5
    for name in FILES.keys() - set(parts):
        at_top = name.removesuffix(".py") in lazy
        used = [module for module in imports(trees[name], at_top=at_top) if module.startswith(own)]
        assert not used, name
    for name in parts:
        top = {module.split(".")[0] for module in imports(trees[name], at_top=True)}
        assert not top & {"jinja2", "markupsafe", "vl_convert"}, name


def test_the_arrows_go_round_in_no_circle() -> None:
    done: set[str] = set()
    while left := {room: below for room, below in ROOMS.items() if room not in done}:
        free = {room for room, below in left.items() if below <= done}
        assert free, f"these import each other: {sorted(left)}"
        done |= free


def test_every_room_is_in_the_plan() -> None:
    rooms = {room_of(path) for path in FILES.values()} - {"__init__", "__main__"}
    assert rooms == {*ROOMS, "cli"}
    assert len(rooms) <= MOST_ROOMS


def test_an_experiment_imports_only_the_layers_above_it(trees: dict[str, ast.Module]) -> None:
    layer_of = {name: number for number, layer in enumerate(EXPERIMENTS) for name in layer}
    files = {path.stem: name for name, path in FILES.items() if room_of(path) == "experiments"}
    assert set(files) - {"__init__"} == set(layer_of)
    for name, number in layer_of.items():
        modules = [module.split(".") for module in imports(trees[files[name]])]
        used = {parts[2] for parts in modules if parts[:2] == ["onecycle_cli", "experiments"] and len(parts) > 2}
        assert all(layer_of[one] < number for one in used), name


NAMED_ELSEWHERE = {
    "__main__.py",  # /dev/null
    "cli/recipes.py",  # a file of the package
    "figures/report/page.py",  # files of the package
    "data/file_contents.py",  # its caller collects all errors
    "data/decoded_cache.py",  # its caller names the entry
    "run_dir/receivers/tensorboard.py",  # an error there costs a note
}
"""Files that read others without `errors.naming`, and why."""


def test_an_error_while_a_file_is_read_names_it(trees: dict[str, ast.Module]) -> None:
    """Python names a file that cannot be opened, and none that cannot be read: `errors.naming` does, or a handler."""
    unnamed = [
        f"{name}:{line}"
        for name, tree in trees.items()
        if name not in NAMED_ELSEWHERE
        for line in unnamed_reads(tree, named=False)
    ]
    assert unnamed == []


def unnamed_reads(node: ast.AST, *, named: bool) -> Iterator[int]:
    """The lines that read a file in no block that names it or handles all errors of the system."""
    if isinstance(node, ast.Call) and not named and _reads(node):
        yield node.lineno
    blocks = [item.context_expr for item in node.items] if isinstance(node, ast.With) else []
    handled = [handler.type for handler in node.handlers if handler.type] if isinstance(node, ast.Try) else []
    inner = {word.id for part in (*blocks, *handled) for word in ast.walk(part) if isinstance(word, ast.Name)}
    safe = bool(inner & {"naming", "OSError", "Exception"})
    for child in ast.iter_child_nodes(node):
        # What handles an error, or goes on without one, is outside the block.
        inside = not isinstance(node, ast.Try) or child in node.body
        yield from unnamed_reads(child, named=named or (safe and inside))


def _reads(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    owner = getattr(getattr(call.func, "value", None), "id", "")
    if name == "open" and owner not in ("os", "Image", "webbrowser", "self"):
        given = (*call.args, *(keyword.value for keyword in call.keywords))
        words = [str(word.value) for word in given if isinstance(word, ast.Constant)]
        return not any(set(word) <= set("wxabt+r") and set(word) & set("wxa+") for word in words)
    return name in ("read_bytes", "read_text") or (owner, name) == ("np", "load")


def test_every_module_has_a_test_of_the_same_name() -> None:
    """Tests mirror the rooms; a package's `__init__` and what has nothing to test have none."""
    tests = Path(__file__).parent
    without = {
        "progress.py",
        "__main__.py",
        "data/cache.py",
        "cli/options.py",
        "run_dir/files.py",
        "run_dir/receivers/receiver.py",
        "data/cores.py",
        "figures/report/content.py",
    }
    # Through recipe/problems.py, where their messages are made.
    without |= {
        "recipe/fields.py",
        "recipe/field_types.py",
        "recipe/max_lr.py",
        "recipe/fine_tune_fields.py",
        "recipe/model_fields.py",
        "recipe/data_fields.py",
    }
    expected = [Path(name) for name in FILES if not name.endswith("__init__.py") and name not in without]
    missing = [str(path) for path in expected if not (tests / path.parent / f"test_{path.name}").is_file()]
    assert missing == []
