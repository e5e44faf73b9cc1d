"""What starts a command again, and the run of an earlier start."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from onecycle_cli.run_dir.facts import began, this_process
from onecycle_cli.run_dir.launch import Launch, again, end_elsewhere, slurm_job, this_launch
from onecycle_cli.run_dir.run import RunDir

Make = Callable[..., RunDir]
NAMES = ["SLURM_JOB_ID", "SLURM_ARRAY_JOB_ID", "SLURM_ARRAY_TASK_ID", "SLURM_RESTART_COUNT"]
NAMES += ["TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"]
Environment = Callable[..., None]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Environment:
    """Sets the variables of SLURM and torchrun, and no others of theirs."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)

    def put(**values: str) -> None:
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return put


def test_a_job_of_slurm_is_a_launch_if_it_will_be_requeued(environment: Environment) -> None:
    assert (this_launch(requeue=True), slurm_job()) == (None, None)
    environment(SLURM_JOB_ID="7")
    assert this_launch(requeue=False) is None
    assert this_launch(requeue=True) == Launch("slurm 7", restarted=False)
    environment(SLURM_RESTART_COUNT="2")
    assert this_launch(requeue=True) == Launch("slurm 7", restarted=True)


def test_a_task_of_an_array_is_named_by_array_and_task(environment: Environment) -> None:
    environment(SLURM_JOB_ID="7", SLURM_ARRAY_JOB_ID="5", SLURM_ARRAY_TASK_ID="0", SLURM_RESTART_COUNT="0")
    assert slurm_job() == "5_0"
    assert this_launch(requeue=True) == Launch("slurm 5_0", restarted=False)


def test_torchrun_is_a_launch_since_its_agent_began(environment: Environment) -> None:
    environment(TORCHELASTIC_RUN_ID="job", TORCHELASTIC_RESTART_COUNT="0")
    agent = psutil.Process(os.getppid()).create_time(), began(os.getppid())
    assert this_launch(requeue=False) == Launch("torchrun job", False, *agent)
    environment(TORCHELASTIC_RUN_ID="none", TORCHELASTIC_RESTART_COUNT="1")
    key = f"torchrun {socket.gethostname()} {os.getppid()}"
    assert this_launch(requeue=True) == Launch(key, True, *agent)


def test_of_torchrun_in_a_job_the_job_is_the_launch(environment: Environment) -> None:
    environment(SLURM_JOB_ID="7", TORCHELASTIC_RUN_ID="job", TORCHELASTIC_RESTART_COUNT="1")
    assert this_launch(requeue=True) == Launch("slurm 7", restarted=True)


def test_the_newest_run_of_the_same_command_and_launch_is_found(make: Make, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    launch = Launch("slurm 7", restarted=True)
    assert again(runs, launch, "onecycle train a") is None
    mine = [make(command_line="onecycle train a", launch="slurm 7").path for _ in range(2)]
    make(command_line="onecycle train a", launch="slurm 70")
    make(command_line="onecycle train a")
    other = make(command_line="onecycle train b", launch="slurm 7").path
    assert again(runs, launch, "onecycle train a").path == mine[1]
    assert again(runs, launch, "onecycle train b").path == other
    assert again(runs, launch, "onecycle train c") is None
    assert again(runs, Launch("slurm 7", restarted=False), "onecycle train a") is None
    assert again(runs, None, "onecycle train a") is None


def test_a_launch_of_the_same_name_that_ended_before_is_another_one(make: Make, tmp_path: Path) -> None:
    make(command_line="onecycle train a", launch="torchrun job")
    started = this_process()["process_started"]
    before, after = (Launch("torchrun job", restarted=True, since=started + seconds) for seconds in (-60, 60))
    assert again(tmp_path / "runs", before, "onecycle train a") is not None
    assert again(tmp_path / "runs", after, "onecycle train a") is None


def test_a_launch_of_the_same_name_is_told_apart_whatever_the_clock_was_set_to(make: Make, tmp_path: Path) -> None:
    make(command_line="onecycle train a", launch="torchrun job", process_began="boot 100", process_started=1000.0)
    for since in (0.0, 86_400.0):
        mine, later = (Launch("torchrun job", True, since, at) for at in ("boot 90", "boot 110"))
        assert again(tmp_path / "runs", mine, "onecycle train a") is not None
        assert again(tmp_path / "runs", later, "onecycle train a") is None


def test_a_run_that_was_killed_on_another_host_is_interrupted(make: Make) -> None:
    here, there, done = make(), make(host="elsewhere"), make(host="elsewhere", status="finished")
    for run in (here, there, done):
        end_elsewhere(run)
    assert [run.status for run in (here, there, done)] == ["running", "interrupted", "finished"]
