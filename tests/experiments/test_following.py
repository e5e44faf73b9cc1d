"""The processes that send a run never cost it anything."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from typer.testing import Result

from onecycle_cli.errors import MachineError, Terminated
from onecycle_cli.experiments import following as module
from onecycle_cli.experiments.following import Follower, Following, send_all
from onecycle_cli.experiments.session import Session
from onecycle_cli.progress import silent
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir import receivers
from onecycle_cli.run_dir.receivers import RECEIVERS
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.unwritten import UnwrittenRun
from onecycle_cli.training.hardware import Hardware

CPU = Hardware(torch.device("cpu"), "float32")
NAMES = "tensorboard", "mlflow", "wandb"


@pytest.fixture
def run(tmp_path: Path, tiny: Callable[..., Recipe]) -> RunDir:
    return RunDir.create(
        tmp_path / "runs", command="train", recipe_name="a", recipe_yaml=to_yaml(tiny()), facts={}, name="a"
    )


@pytest.fixture
def instead(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], None]:
    """Has another program stand in the place of the one that sends: `instead("print(1)")`."""

    def put(program: str) -> None:
        path = tmp_path / "program" / "onecycle_cli" / "experiments" / "sending.py"
        path.parent.mkdir(parents=True)
        for folder in (path.parent, path.parent.parent):
            (folder / "__init__.py").touch()
        path.write_text(f"import sys, time\n\ndef say(line):\n    print(line, flush=True)\n\n{program}")
        monkeypatch.setattr(module, "onecycle_cli", SimpleNamespace(__file__=str(path.parent.parent / "__init__.py")))

    return put


def word(more: float = 0, trouble: str | None = None, rows: int | None = None) -> str:
    return f"say({json.dumps(json.dumps({'more': more, 'trouble': trouble, 'rows': rows, 'at': 'there'}))})\n"


def recipe_to(tiny: Callable[..., Recipe], *receivers: str) -> Recipe:
    return tiny({"runtime.log_to": list(receivers)})


def test_trouble_is_told_once_while_the_run_goes_on_and_noted_at_its_end(
    run: RunDir, tiny: Callable[..., Recipe], instead: Callable[[str], None]
) -> None:
    told: list[Any] = []
    instead(word(trouble="no answer") * 2 + "sys.stdin.read()\n" + word(trouble="no answer at all") + "sys.exit(1)")
    with Following(recipe_to(tiny, "mlflow"), Session(run, CPU, told.append)) as session:
        while not any("no answer" in line for line in told):
            session.report("a step")
        session.report("another step")
    *steps, late = told
    early = "mlflow: no answer. The run goes on, and it is tried again."
    assert steps.count(early) == 1
    assert set(steps) == {"a step", early, "another step"}
    assert late == (
        f"mlflow does not have all of this run: no answer at all. The run is complete without it; "
        f"`onecycle runs push {run.path}` sends the rest."
    )
    assert run.facts["notes"] == [late]


def test_trouble_that_is_over_is_no_note(
    run: RunDir, tiny: Callable[..., Recipe], instead: Callable[[str], None]
) -> None:
    told: list[Any] = []
    instead(word(trouble="no answer") + "sys.stdin.read()\n" + word(trouble="") + word(rows=3))
    with Following(recipe_to(tiny, "mlflow"), Session(run, CPU, told.append)) as session:
        while not any("no answer" in line for line in told):
            session.report("a step")
    assert told[-1] == "mlflow has all of this run now."
    assert run.facts["notes"] == []


@pytest.mark.parametrize(
    ("program", "trouble"),
    [
        ("sys.exit('the library is broken')", "its process ended with code 1: the library is broken"),
        ("import os; os.kill(os.getpid(), 9)", "its process ended with code -9"),
        ("time.sleep(60)", "it took too long"),
        (word(more=-60, trouble="slow") + "time.sleep(60)", "slow"),
    ],
)
def test_a_process_that_ends_or_says_nothing_is_not_waited_for(
    run: RunDir, instead: Callable[[str], None], monkeypatch: pytest.MonkeyPatch, program: str, trouble: str
) -> None:
    monkeypatch.setattr(module, "WITHIN_SECONDS", 0.2 if trouble == "it took too long" else 60.0)
    instead(program)
    assert [delivery.trouble for delivery in send_all(run, ["mlflow"])] == [trouble]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), Terminated(signal.SIGTERM)])
def test_an_interrupt_ends_the_wait_and_not_the_run(
    run: RunDir, tiny: Callable[..., Recipe], instead: Callable[[str], None], error: BaseException
) -> None:
    def interrupted(news: object) -> None:
        if str(news).startswith("Sending"):
            raise error

    instead("time.sleep(60)")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "PATIENCE_SECONDS", 0.0)
        with Following(recipe_to(tiny, "mlflow"), Session(run, CPU, interrupted)):
            run.finish("finished", {})
    assert run.status == "finished"
    assert "it took too long" in run.facts["notes"][0]


def test_the_error_of_a_run_is_still_its_error(
    run: RunDir, tiny: Callable[..., Recipe], instead: Callable[[str], None]
) -> None:
    instead("sys.exit(1)")
    with pytest.raises(MachineError), Following(recipe_to(tiny, "mlflow"), Session(run, CPU, silent)):
        raise MachineError("The disk is full.", "Free some space.")


def test_a_process_that_cannot_be_started_is_a_note(
    run: RunDir, tiny: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/there/is/no/python")
    with Following(recipe_to(tiny, "mlflow"), Session(run, CPU, silent)):
        pass
    assert run.facts["notes"] == ["Nothing is sent to mlflow: No such file or directory."]


def test_the_process_ends_when_the_command_is_killed(
    run: RunDir, instead: Callable[[str], None], tmp_path: Path
) -> None:
    instead(f"sys.stdin.read()\nopen({str(tmp_path / 'ended')!r}, 'w').close()")
    if (child := os.fork()) == 0:
        Follower(run, "mlflow")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    while not (tmp_path / "ended").exists():
        pass


def test_other_ranks_start_no_process(
    run: RunDir, tiny: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    def started(*_: Any, **__: Any) -> None:
        raise AssertionError("a process was started")

    monkeypatch.setattr(subprocess, "Popen", started)
    ranks: Any = SimpleNamespace(first=False, several=True)
    other = Session(UnwrittenRun(run.path, run.facts), CPU, silent, ranks=ranks)
    with Following(recipe_to(tiny, *NAMES), other) as session:
        assert session is other
    with Following(tiny(), Session(run, CPU, silent)):
        pass  # no receiver, no process


@pytest.mark.parametrize("name", NAMES)
def test_a_package_that_is_missing_is_told_before_anything_runs(
    onecycle: Callable[..., Result], tiny_digits: list[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(receivers, "find_spec", lambda _: None)
    for command in ("train", "find-lr"):
        done = onecycle(command, *tiny_digits, "--set", f"runtime.log_to=[{name}]")
        assert done.exit_code == 5
        assert f"runtime.log_to {name} needs {name}, which cannot be imported." in done.stderr
        assert f"pip install 'onecycle-cli[{name}]'" in done.stderr
        assert not Path("runs").exists()


def test_a_folder_of_that_name_is_no_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nobodys_package").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MachineError, match="needs nobodys_package"):
        receivers.must_be_installed(("nobodys_package",))
    receivers.must_be_installed(NAMES)


def test_an_environment_that_a_person_has_set_stays(
    run: RunDir, instead: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "77")
    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    names = "['MLFLOW_HTTP_REQUEST_TIMEOUT', 'MLFLOW_HTTP_REQUEST_MAX_RETRIES']"
    instead(f"import os, json\nsay(json.dumps(dict(rows=0, at=' '.join(os.environ[name] for name in {names}))))")
    (delivery,) = send_all(run, ["mlflow"])
    assert delivery.at == "77 1"
    assert "MLFLOW_HTTP_REQUEST_MAX_RETRIES" not in os.environ


def test_there_is_a_receiver_for_each_name_in_a_recipe() -> None:
    assert tuple(RECEIVERS) == NAMES
    assert [entry.load().__name__ for entry in RECEIVERS.values()] == ["TensorBoardRun", "MlflowRun", "WandbRun"]
