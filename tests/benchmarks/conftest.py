"""How the tests start a script of benchmarks/: by its command line, with results that go to a folder of their own."""

import contextlib
import importlib
import io
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

ROOT = Path(__file__).parent.parent.parent
BENCHMARKS = ROOT / "benchmarks"


def written() -> dict[Path, int]:
    """When each file that a benchmark may write in the repository was last written."""
    places = (BENCHMARKS / "results").rglob("*"), (ROOT / "docs").rglob("*"), [ROOT / "README.md"]
    return {path: path.stat().st_mtime_ns for paths in places for path in paths}


@pytest.fixture(autouse=True)
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that results go to; the committed ones stay as they are."""
    folder = tmp_path / "results"
    monkeypatch.setenv("ONECYCLE_BENCHMARK_RESULTS", str(folder))
    before = written()
    yield folder
    assert written() == before


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a module of benchmarks/ by its name."""
    for path in (BENCHMARKS, BENCHMARKS / "contenders", BENCHMARKS / "suggestion"):
        monkeypatch.syspath_prepend(path)
    return importlib.import_module


def started(script: Path, words: list[str]) -> str:
    """Runs a script in this process as `python SCRIPT WORDS` does; what it prints.

    As then, it finds the modules of its own folder, and none that another script has imported.
    """
    printed, argv, path = io.StringIO(), sys.argv, sys.path
    for name, imported in list(sys.modules.items()):
        if Path(getattr(imported, "__file__", None) or "").is_relative_to(BENCHMARKS):
            del sys.modules[name]
    sys.argv, sys.path = [str(script), *words], [str(script.parent), *path]
    try:
        with contextlib.redirect_stdout(printed):
            runpy.run_path(str(script), run_name="__main__")
    finally:
        sys.argv, sys.path = argv, path
    return printed.getvalue()


@pytest.fixture
def start() -> Callable[..., str]:
    """Starts a script of benchmarks/ in this process: `start("accuracy.py", "digits")`; what it prints."""
    return lambda script, *words: started(BENCHMARKS / script, [str(word) for word in words])


@pytest.fixture
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs in this process what a benchmark starts as a process of Python: to import torch again takes seconds."""

    as_process = subprocess.run

    def run(command: list[str], **options: Any) -> "subprocess.CompletedProcess[Any]":
        if command[0] != sys.executable:
            return as_process(command, **options)
        if command[1:3] == ["-m", "onecycle_cli"]:
            from onecycle_cli.cli import app

            result = CliRunner().invoke(app, command[3:])
            print(result.stderr, file=sys.stderr)
            return subprocess.CompletedProcess(command, result.exit_code, result.stdout, result.stderr)
        return subprocess.CompletedProcess(command, 0, started(Path(command[1]), command[2:]))

    monkeypatch.setattr(subprocess, "run", run)
