"""Processes that decode."""

import multiprocessing
import os
import signal

import pytest

from onecycle_cli.data.workers import worker_processes
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
