"""Processes that decode."""

import multiprocessing
import os

import pytest

from onecycle_cli.data.workers import worker_processes
from onecycle_cli.errors import MachineError


def test_workers_do_the_work_and_are_gone_after_it() -> None:
    with worker_processes(1) as pool:
        assert pool.submit(os.getpid).result() != os.getpid()
    assert multiprocessing.active_children() == []


def test_a_worker_that_is_killed_is_an_error_of_the_machine() -> None:
    with pytest.raises(MachineError, match="was ended from outside"), worker_processes(1) as pool:
        pool.submit(os._exit, 9).result()
