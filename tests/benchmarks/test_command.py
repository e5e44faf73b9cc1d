import sys
from collections.abc import Callable
from types import ModuleType

import pytest

Module = Callable[[str], ModuleType]


def test_what_a_command_prints_is_read(module: Module) -> None:
    assert "digits" in module("command").run("recipes")


def test_a_command_that_fails_ends_the_benchmark(module: Module, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match=r"^onecycle nothing --json ended with 2\.$"):
        module("command").onecycle("nothing")
    assert "nothing" in capfd.readouterr().err


def test_what_stands_behind_two_dashes_is_not_for_the_script(module: Module, monkeypatch: pytest.MonkeyPatch) -> None:
    command = module("command")
    monkeypatch.setattr(sys, "argv", ["accuracy.py", "digits", "--", "--seeds", "--"])
    assert command.words_and_options() == (["digits"], ["--seeds", "--"])
    monkeypatch.setattr(sys, "argv", ["accuracy.py", "digits"])
    assert command.words_and_options() == (["digits"], [])


def test_a_training_that_diverged_has_no_accuracy(module: Module) -> None:
    assert [module("command").told(accuracy) for accuracy in (0.5, None)] == ["0.5000", "diverged"]
