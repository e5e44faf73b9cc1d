"""`runs push`: what a receiver lacks of a run is sent."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

from onecycle_cli.experiments import following

Command = Callable[..., Result]


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow machine is no failure."""
    monkeypatch.setattr(following, "WITHIN_SECONDS", 600.0)


def test_a_run_is_sent_where_it_is_told_to(onecycle: Command, trained: str) -> None:
    first = onecycle("runs", "push", trained, "--to", "tensorboard", "--to", "tensorboard", "--json")
    assert first.exit_code == 0
    (row,) = json.loads(first.stdout)
    folder = str(Path("runs").absolute() / trained / "tensorboard")
    assert row == {"run": f"runs/{trained}", "receiver": "tensorboard", "rows": 26, "at": folder, "trouble": None}
    second = onecycle("runs", "push", f"runs/{trained}", "--to", "tensorboard")
    assert second.exit_code == 0
    header, line = second.stdout.splitlines()
    assert header.split() == ["run", "receiver", "rows", "where"]
    assert line.split() == [f"runs/{trained}", "tensorboard", "0", folder]


def test_a_receiver_must_be_named_and_known(onecycle: Command, trained: str) -> None:
    nowhere = onecycle("runs", "push", trained)
    assert nowhere.exit_code == 2
    assert "has no runtime.log_to" in nowhere.stderr
    assert "--to tensorboard, mlflow, wandb" in nowhere.stderr
    unknown = onecycle("runs", "push", trained, "--to", "mlfow")
    assert unknown.exit_code == 2
    assert "--to mlfow is no receiver of runs" in unknown.stderr


def test_a_run_must_be_there(onecycle: Command) -> None:
    done = onecycle("runs", "push", "nothing", "--to", "tensorboard")
    assert done.exit_code == 2
    assert "nothing is not a run" in done.stderr


def test_what_cannot_be_sent_has_an_exit_code(onecycle: Command, trained: str) -> None:
    (Path("runs") / trained / "tensorboard").write_text("a file of a person")
    done = onecycle("runs", "push", trained, "--to", "tensorboard")
    assert done.exit_code == 5
    assert f"tensorboard does not have all of runs/{trained}: " in done.stderr
    assert "/tensorboard: File exists." in done.stderr
    assert (Path("runs") / trained / "tensorboard").read_text() == "a file of a person"
