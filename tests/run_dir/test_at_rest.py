"""Runs that are at work are told from those at rest."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.run_dir.at_rest import must_rest, running_elsewhere
from onecycle_cli.run_dir.files import RUN
from onecycle_cli.run_dir.run import RunDir

Make = Callable[..., RunDir]

HOLD = "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print(1, flush=True); input()"


@contextmanager
def held(lock: Path) -> Iterator[None]:
    """Another process holds the lock."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(lock)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"1\n"
        yield
        other.communicate(b"\n")


def test_a_run_of_this_process_is_running_until_it_ends(make: Make) -> None:
    run = make()
    with pytest.raises(InputError, match=r"is running, as process \d+"):
        must_rest(run, elsewhere_ended=True)
    run.update(status="finished")
    must_rest(run)
    run.update(status="running", process_started=1.0, process_began=None)  # another has its number
    must_rest(run)


def test_a_run_on_another_machine_is_running_unless_a_person_knows_better(make: Make) -> None:
    run = make(host="node7")
    with pytest.raises(InputError, match="on another machine, node7, or was killed there") as told:
        must_rest(run)
    assert "--force" in told.value.fix
    must_rest(run, elsewhere_ended=True)
    assert [(one.path, host) for one, host in running_elsewhere(run)] == [(run.path, "node7")]


def test_a_cell_that_runs_keeps_its_sweep_from_rest(make: Make) -> None:
    sweep = make("sweep")
    cell = sweep.inner("seed=0", "a: 1\n")
    sweep.update(status="interrupted")
    with pytest.raises(InputError, match="seed=0 is running"):
        must_rest(sweep)
    cell.update(status="finished")
    must_rest(sweep)
    assert list(running_elsewhere(sweep)) == []


@pytest.mark.parametrize("lock", [".lock", ".seed=0.lock", "seed=0/.lock"])
def test_a_lock_that_is_held_tells_of_a_run_at_work_whatever_its_status(make: Make, lock: str) -> None:
    sweep = make("sweep")
    sweep.inner("seed=0", "a: 1\n").update(status="interrupted")
    sweep.update(status="interrupted")
    (sweep.path / lock).touch()
    with held(sweep.path / lock), pytest.raises(InputError, match="Another process is using"):
        must_rest(sweep)
    must_rest(sweep)


def test_a_damaged_run_is_at_rest(make: Make) -> None:
    run = make()
    (run.path / RUN).write_text("{")
    must_rest(run)
    assert list(running_elsewhere(run)) == []
