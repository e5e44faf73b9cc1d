"""Every way a command can end, and that help is quick."""

import errno
import json
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import typer
from typer.testing import Result

from onecycle_cli import __version__
from onecycle_cli.cli import app
from onecycle_cli.cli.root import ends
from onecycle_cli.errors import InputError, MachineError, NoSuggestionError, Terminated

Command = Callable[..., Result]


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (InputError("Wrong.", "Fix it."), 2, "error: Wrong.\nFix it."),
        (NoSuggestionError("Flat.", "Go on."), 4, "error: Flat."),
        (MachineError("Broken.", "Fix it."), 5, "error: Broken."),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), 5, "No space left on device: runs/x"),
        (PermissionError(errno.EACCES, "Permission denied", "runs"), 5, "Permission denied: runs"),
        (MemoryError(), 5, "Out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), 5, "smaller --batch-size"),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), 5, "CUDA out of memory"),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), 5, "ALLOC_FAILED"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (Terminated(), 143, "terminated"),
        (Terminated(signal.SIGUSR1), 138, "terminated"),
        (Terminated(signal.SIGALRM), 142, "the deadline was reached"),
    ],
)
def test_each_end_has_its_message_and_its_exit_code(
    capsys: pytest.CaptureFixture[str], error: BaseException, code: int, says: str
) -> None:
    with pytest.raises(typer.Exit) as caught, ends():
        raise error
    assert caught.value.exit_code == code
    assert says in capsys.readouterr().err


@pytest.mark.parametrize("bug", [ValueError("bug"), KeyError("bug"), OSError(errno.EBADF, "bug")])
def test_a_bug_stays_a_bug(bug: Exception) -> None:
    with pytest.raises(type(bug)), ends():
        raise bug


@pytest.mark.parametrize("console", ["there", "without memory"])
def test_a_lack_of_memory_outside_of_a_command_and_of_the_console_is_told(
    onecycle: Command, monkeypatch: pytest.MonkeyPatch, console: str
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("typer.core.TyperGroup.main", refuse)
    if console != "there":
        monkeypatch.setitem(sys.modules, "onecycle_cli.cli.console", None)  # to import it is an error
    result = onecycle("runs")
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.startswith("error: Out of memory: MemoryError\nFree some memory")


def test_a_library_that_crashes_as_it_is_unloaded_does_not_hide_what_was_told() -> None:
    program = """
import atexit, ctypes, sys, typer.core
def refuse(*_, **__):
    raise MemoryError
typer.core.TyperGroup.main = refuse
library = ctypes.CDLL(None)
library.on_exit(ctypes.cast(library.abort, ctypes.c_void_p), None)
atexit.register(print, "cleared up")
from onecycle_cli.__main__ import main
main()
"""
    if sys.platform != "linux":
        pytest.skip("on_exit is a function of Linux's C library")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (5, "cleared up\n")
    assert done.stderr.startswith("error: Out of memory")


def test_a_folder_that_cannot_be_written_to_is_told(onecycle: Command, tiny_digits: list[str]) -> None:
    Path("file").touch()
    result = onecycle("find-lr", *tiny_digits, "--runs-dir", "file/runs")
    assert result.exit_code == 5
    assert "file" in result.stderr
    assert "Traceback" not in result.stderr
    result = onecycle("find-lr", *tiny_digits, "--runs-dir", "file")
    assert (result.exit_code, "this is a file" in result.stderr) == (5, True)


def commands(group: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*words, name)
        if hasattr(command, "commands"):
            yield from commands(command, (*words, name))


EVERY = list(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", EVERY, ids=" ".join)
def test_every_command_has_help_with_an_example(onecycle: Command, words: tuple[str, ...]) -> None:
    result = onecycle(*words, "--help")
    assert result.exit_code == 0
    # A command that is copied with a line break in it is another one.
    assert not re.search(r"\w-$", result.stdout, re.MULTILINE)
    text = " ".join(result.stdout.split())
    assert f"Example: onecycle {' '.join(words[:2])}" in text


def test_the_version_is_printed(onecycle: Command) -> None:
    assert onecycle("--version").stdout == f"onecycle {__version__}\n"


def test_without_a_command_help_is_shown(onecycle: Command) -> None:
    result = onecycle()
    assert result.exit_code == 2
    assert "Usage: " in result.output


def test_an_unknown_command_or_option_exits_with_2(onecycle: Command) -> None:
    assert onecycle("trian").exit_code == 2
    assert onecycle("train", "--max-ir", "1").exit_code == 2


def test_help_imports_none_of_the_large_libraries() -> None:
    code = """
import sys
from onecycle_cli.cli import main
try:
    sys.argv = ["onecycle", "train", "--help"]
    main()
except SystemExit as end:
    assert end.code == 0
large = {"torch", "torchvision", "pandas", "numpy", "matplotlib", "sklearn", "scipy", "yaml", "PIL", "plotille", "rich"}
import json
print(json.dumps(sorted(large & set(sys.modules))))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []
