"""Commands that are ended before their time, and the next start of the same job."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import Result

from onecycle_cli.run_dir.run import RunDir

Command = Callable[..., Result]
ENOUGH = 6
"""Epochs of the tiny recipe that take longer than a thread needs to see the first rows and to send a signal."""


@pytest.fixture(autouse=True)
def _no_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JOB_ID", "ARRAY_JOB_ID", "ARRAY_TASK_ID", "RESTART_COUNT"):
        monkeypatch.delenv(f"SLURM_{name}", raising=False)


@pytest.fixture
def scontrol(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """Puts a stand-in for `scontrol` on the path, with SLURM's answer; the file that it returns has its arguments."""

    def put(answer: str = "exit 0") -> Path:
        asked = tmp_path / "asked"
        (tmp_path / "bin").mkdir()
        file = tmp_path / "bin" / "scontrol"
        file.write_text(f'#!/bin/sh\necho "$@" >> {asked}\n{answer}\n')
        file.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
        return asked

    return put


@pytest.fixture
def ended_by(onecycle: Command, tmp_path: Path) -> Callable[..., Result]:
    """Runs a command in this process, and signals it when the first training has written some rows."""

    def run(number: int, *words: object) -> Result:
        done = threading.Event()

        def send() -> None:
            until = time.monotonic() + 60
            while not done.wait(0.01):
                tables = list((tmp_path / "runs").glob("**/steps.csv"))
                if time.monotonic() > until or any(table.read_text().count("\n") > 5 for table in tables):
                    os.kill(os.getpid(), number)
                    return

        # Should the command leave the signal to its default, no test ends.
        before = signal.signal(number, signal.default_int_handler)
        thread = threading.Thread(target=send)
        thread.start()
        try:
            return onecycle(*words)
        finally:
            done.set()
            thread.join()
            signal.signal(number, before)

    return run


def status(run: Path) -> str:
    return str(json.loads((run / "run.json").read_text())["status"])


def test_the_timer_of_a_deadline_ends_a_training(onecycle: Command, tiny_digits: list[str]) -> None:
    assert onecycle("train", *tiny_digits, "--epochs", 1).exit_code == 0  # which imports all that a training needs
    result = onecycle("train", *tiny_digits, "--epochs", 1_000, "--name", "long", "--deadline", "1s")
    assert result.exit_code == 75
    assert result.stderr.splitlines()[-2] == "the deadline was reached"
    assert status(Path("runs/long")) == "interrupted"


def test_what_a_deadline_has_ended_goes_on_to_the_same_bits(
    onecycle: Command, ended_by: Command, tiny_digits: list[str]
) -> None:
    words = ("train", *tiny_digits, "--epochs", ENOUGH, "--name")
    cut = ended_by(signal.SIGALRM, *words, "cut", "--deadline", "1h30m")
    assert (cut.exit_code, status(Path("runs/cut"))) == (75, "interrupted")
    assert cut.stderr.splitlines()[-2:] == [
        "the deadline was reached",
        "It can go on: onecycle train --resume runs/cut",
    ]
    rows = len(pd.read_csv("runs/cut/steps.csv"))
    assert [path.name for path in Path("runs/cut").glob("checkpoint-*")] == [f"checkpoint-{rows}.safetensors"]
    assert onecycle("train", "--resume", "cut", "--deadline", "2h").exit_code == 0
    assert signal.getitimer(signal.ITIMER_REAL) == (0, 0)
    assert onecycle(*words, "whole").exit_code == 0
    for name in ("steps.csv", "model.safetensors"):
        assert Path("runs/cut", name).read_bytes() == Path("runs/whole", name).read_bytes()


def in_a_process(*words: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command whose signal comes at any place: in this process it could leave a lock of filelock taken."""
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "onecycle_cli", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.mark.parametrize(
    "words", [("sweep", "digits", "--param", "model.width=0.25"), ("sweep-wd", "digits"), ("tune", "digits")]
)
def test_a_deadline_ends_every_command_that_goes_on(words: tuple[str, ...]) -> None:
    result = in_a_process(*words, "--deadline", "0.001s")
    assert result.returncode == 75, result.stderr
    told = f"the deadline was reached\nIt can go on: onecycle {' '.join(words)} --deadline 0.001s\n"
    assert result.stderr == told


@pytest.mark.parametrize("command", ["train", "sweep", "sweep-wd", "tune"])
def test_a_deadline_that_is_no_time_and_a_requeue_outside_of_a_job_are_refused_before_any_work(
    onecycle: Command, command: str
) -> None:
    result = onecycle(command, "digits", "--deadline", "soon")
    assert (result.exit_code, "--deadline soon is no length of time" in result.stderr) == (2, True)
    result = onecycle(command, "digits", "--requeue")
    assert (result.exit_code, "SLURM_JOB_ID is not set" in result.stderr) == (2, True)
    assert not Path("runs").exists()


def test_a_job_that_is_preempted_is_requeued_goes_on_and_tells_its_result_again(
    onecycle: Command,
    ended_by: Command,
    scontrol: Callable[..., Path],
    tiny_digits: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = scontrol()
    words = ("train", *tiny_digits, "--epochs", ENOUGH, "--requeue", "--json")
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    first = ended_by(signal.SIGUSR1, *words)
    assert (first.exit_code, first.stdout, asked.read_text()) == (75, "", "requeue 7\n")
    assert first.stderr.splitlines()[-1] == "SLURM starts job 7 again, and it goes on there."
    (run,) = Path("runs").iterdir()
    RunDir(run).update(status="running", host="elsewhere")  # as if it had been killed there, without time to say so
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    second = onecycle(*words)
    assert second.exit_code == 0, second.stderr
    assert "Going on at step " in second.stderr
    weights = (run / "model.safetensors").stat()
    third = onecycle(*words)
    assert (third.exit_code, third.stdout) == (0, second.stdout)
    assert "has come to its end at an earlier start" in third.stderr
    assert (run / "model.safetensors").stat() == weights
    assert list(Path("runs").iterdir()) == [run]
    shown = dict(line.split(maxsplit=1) for line in onecycle(*words[:-1]).stdout.splitlines())
    assert (shown["status"], shown["run"]) == ("finished", str(run))
    assert ("diagnosis" in shown) == (json.loads(second.stdout)["diagnosis"] is not None)
    # Another job of the same command, and the same job without the option, begin anew.
    monkeypatch.setenv("SLURM_JOB_ID", "8")
    assert onecycle("train", *tiny_digits, "--epochs", 1, "--requeue").exit_code == 0
    assert len(list(Path("runs").iterdir())) == 2


def test_a_requeued_resume_resumes_again(
    onecycle: Command,
    ended_by: Command,
    scontrol: Callable[..., Path],
    tiny_digits: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = scontrol()
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    ended_by(signal.SIGTERM, "train", *tiny_digits, "--epochs", ENOUGH, "--name", "cut")
    assert not asked.exists()
    words = ("train", "--resume", "cut", "--requeue")
    again = in_a_process(*words, "--deadline", "0.001s")
    assert (again.returncode, asked.read_text()) == (75, "requeue 7\n")
    assert onecycle(*words, "--json").exit_code == 0
    refused = onecycle(*words)
    assert (refused.exit_code, "has come to its end" in refused.stderr) == (2, True)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert onecycle(*words, "--quiet").exit_code == 0


def test_a_training_that_diverged_is_told_again_with_its_exit_code(
    onecycle: Command, tiny_digits: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    words = ("train", *tiny_digits, "--max-lr", "1000", "--requeue")
    first = onecycle(*words)
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    again = onecycle(*words)
    assert (first.exit_code, again.exit_code) == (3, 3)
    assert again.stdout == first.stdout
    assert len(list(Path("runs").iterdir())) == 1


@pytest.mark.parametrize(
    ("number", "answer", "code", "says"),
    [
        (signal.SIGTERM, "echo 'Access denied' >&2; exit 1", 75, "SLURM does not start job 5_3 again (Access denied)."),
        (signal.SIGTERM, None, 75, "(scontrol: No such file or directory). Go on by hand."),
        (signal.SIGINT, "exit 0", 130, "It can go on: onecycle train --resume runs/cut"),
        (signal.SIGHUP, "exit 0", 129, "It can go on: onecycle train --resume runs/cut"),
    ],
)
def test_what_slurm_answers_is_told_and_a_person_who_ends_it_is_not_overruled(
    ended_by: Command,
    scontrol: Callable[..., Path],
    tiny_digits: list[str],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    answer: str | None,
    code: int,
    says: str,
) -> None:
    for name, value in {"JOB_ID": "9", "ARRAY_JOB_ID": "5", "ARRAY_TASK_ID": "3"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    if answer is None:
        monkeypatch.setenv("PATH", "/nowhere")
    else:
        asked = scontrol(answer)
    result = ended_by(number, "train", *tiny_digits, "--epochs", 100_000, "--name", "cut", "--requeue")
    assert (result.exit_code, says in result.stderr.splitlines()[-1]) == (code, True), result.stderr
    assert "It can go on: onecycle train --resume runs/cut" in result.stderr
    if answer is not None:
        assert asked.exists() == (code == 75)


@pytest.mark.slow
def test_a_signal_to_all_processes_of_a_sweep_leaves_a_checkpoint_in_its_cell(
    tmp_path: Path, tiny_digits: list[str]
) -> None:
    words = ["sweep", *tiny_digits, "--epochs", "100000", "--param", "model.width=0.25", "--name", "s"]
    command = [sys.executable, "-m", "onecycle_cli", *words, "--jobs", "2"]
    sweep = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    run = tmp_path / "runs" / "s"
    while not any(steps.read_text().count("\n") > 5 for steps in run.glob("*/steps.csv")):
        assert sweep.poll() is None
        time.sleep(0.05)
    os.killpg(sweep.pid, signal.SIGUSR1)  # as SLURM sends it
    _, err = sweep.communicate(timeout=60)
    assert sweep.returncode == 138
    assert err.splitlines()[-1].startswith("It can go on: onecycle sweep digits")
    (steps,) = run.glob("*/steps.csv")
    assert (steps.parent / f"checkpoint-{len(pd.read_csv(steps))}.safetensors").is_file()
    assert (status(steps.parent), status(run)) == ("interrupted", "interrupted")
