"""What may start the same command again, SLURM or torchrun, and the run that an earlier start of it began."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from onecycle_cli.run_dir.facts import began, is_before
from onecycle_cli.run_dir.finding import all_runs
from onecycle_cli.run_dir.run import RunDir


@dataclass(frozen=True)
class Launch:
    """One job of SLURM, or one start of torchrun: it may start the same command several times.

    `key` names it, and is the fact `launch` of its runs. `restarted` says that this is not the command's first start.
    It began at `since`, in seconds since 1970, and `began`, counted from boot, and another of the same name may have
    ended before; None: no other has this name.
    """

    key: str
    restarted: bool
    since: float | None = None
    began: str | None = None

    def had(self, facts: Mapping[str, Any]) -> bool:
        """Whether an earlier start of this launch began or resumed the run with these facts."""
        if not self.restarted or facts.get("launch") != self.key:
            return False
        if self.since is None:
            return True
        before = is_before(facts.get("process_began"), self.began)
        # Setting the clock moves these start times, which are all that two machines have.
        return facts["process_started"] >= self.since - CLOCK_STEP if before is None else not before


CLOCK_STEP = 1.0
"""By how many seconds the start times of processes, which the kernel counts from boot, may differ from one look to the
next, because the time of boot is rounded."""


def this_launch(*, requeue: bool) -> Launch | None:
    """Returns the launch of this process; None where nothing starts its command again.

    `--processes` counts as a torchrun. `requeue` says that the job of SLURM will ask to be requeued. A torchrun inside
    of such a job restarts its workers too, but ends with the job, and so the job is the launch.
    """
    again = _is_above_zero("TORCHELASTIC_RESTART_COUNT") or _is_above_zero("ONECYCLE_STARTS")
    if requeue and (job := slurm_job()):
        return Launch(f"slurm {job}", again or _is_above_zero("SLURM_RESTART_COUNT"))
    if rendezvous := os.environ.get("TORCHELASTIC_RUN_ID"):
        agent = psutil.Process(os.getppid())
        # torchrun without --rdzv-id names every run of itself "none", and a person may use an id twice.
        name = f"{socket.gethostname()} {agent.pid}" if rendezvous == "none" else rendezvous
        return Launch(f"torchrun {name}", again, agent.create_time(), began(agent.pid))
    return None


def slurm_job() -> str | None:
    """Returns the id under which `scontrol` knows the job of this process; None outside of a job.

    A task of an array is ARRAY_TASK: SLURM_JOB_ID of one of the tasks is the id of the whole array, and with it all
    tasks would be requeued (https://slurm.schedmd.com/job_array.html, and Lightning-AI/pytorch-lightning#15022).
    """
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID") or None


def again(runs_dir: Path, launch: Launch | None, command_line: str) -> RunDir | None:
    """Returns the newest run in `runs_dir` of the same command at an earlier start of the same launch.

    None at the first start, or where that one ended before it made a run. The command line tells the commands of a
    script apart.
    """
    if launch is None:
        return None
    for run in reversed(all_runs(runs_dir)):
        facts = run.facts
        if launch.had(facts) and facts.get("command_line") == command_line:
            return run
    return None


def end_elsewhere(run: RunDir) -> None:
    """Marks a run as interrupted whose process was killed on another host before it could say so.

    Only for a run of an earlier start of this launch: when the next start begins, that one's processes are gone.
    """
    facts = run.facts
    if facts["status"] == "running" and facts["host"] != socket.gethostname():
        run.update(status="interrupted")


def _is_above_zero(name: str) -> bool:
    text = os.environ.get(name, "")
    return text.isdecimal() and int(text) > 0
