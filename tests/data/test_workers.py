"""Processes that decode."""

import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import onecycle_cli
from onecycle_cli.data.workers import no_modules_of_the_working_folder, worker_processes
from onecycle_cli.errors import MachineError


def test_workers_do_the_work_and_are_gone_after_it() -> None:
    with worker_processes(1) as pool:
        worker = pool.submit(os.getpid).result()
        assert worker != os.getpid()
        os.kill(worker, signal.SIGUSR1)  # SLURM sends it to all processes, and the parent decides
        assert pool.submit(os.getpid).result() == worker
    assert multiprocessing.active_children() == []


def test_a_worker_that_is_killed_is_an_error_of_the_machine() -> None:
    with pytest.raises(MachineError, match="was ended from outside"), worker_processes(1) as pool:
        pool.submit(os._exit, 9).result()


def test_a_file_of_the_working_folder_is_no_module_of_python() -> None:
    """In a process of its own: multiprocessing starts a helper once a process, and it must not import the file."""
    Path("multiprocessing.py").write_text("open('trace', 'w')")
    program = """
import os
from onecycle_cli.data.workers import worker_processes
with worker_processes(1) as pool:
    print(pool.submit(os.getcwd).result(), "PYTHONSAFEPATH" in os.environ)
print("PYTHONSAFEPATH" in os.environ)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(onecycle_cli.__file__).parents[1])}
    words = [sys.executable, "-P", "-c", program]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (f"{Path.cwd()} True\nFalse\n", "")
    assert not Path("trace").exists()


def test_what_a_person_has_set_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONSAFEPATH", "yes")
    with no_modules_of_the_working_folder():
        assert os.environ["PYTHONSAFEPATH"] == "1"
    assert os.environ["PYTHONSAFEPATH"] == "yes"


@pytest.mark.parametrize("before", [None, "yes"])
def test_blocks_of_several_threads_may_overlap(monkeypatch: pytest.MonkeyPatch, before: str | None) -> None:
    if before is None:
        monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    else:
        monkeypatch.setenv("PYTHONSAFEPATH", before)
    first, second = no_modules_of_the_working_folder(), no_modules_of_the_working_folder()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert os.environ["PYTHONSAFEPATH"] == "1"
    second.__exit__(None, None, None)
    assert os.environ.get("PYTHONSAFEPATH") == before
