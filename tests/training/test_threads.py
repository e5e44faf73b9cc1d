"""How many threads a step uses, and how processes that use most of the cores take turns."""

import tempfile
import threading
from pathlib import Path

import pytest
import torch

from onecycle_cli.data.cores import cores
from onecycle_cli.training import threads as module
from onecycle_cli.training.threads import SMALL_STEP, Turns, threads_beside, threads_of, using_threads


@pytest.fixture(autouse=True)
def _own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_a_small_step_uses_one_thread_and_a_large_one_all() -> None:
    with using_threads(2):
        assert threads_of(SMALL_STEP - 1) == 1
        assert threads_of(SMALL_STEP) == 2
        assert threads_of(None) == 2


def test_beside_busy_processes_the_threads_are_the_cores_that_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "cores", lambda: 4)
    with using_threads(3):
        assert [threads_beside(workers) for workers in (0, 1, 2, 3, 4, 9)] == [3, 3, 2, 1, 1, 1]


def test_the_number_of_threads_comes_back_after_the_block() -> None:
    before = torch.get_num_threads()
    with using_threads(before + 1):
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), using_threads(before + 1):
        1 / 0  # noqa: B018
    assert torch.get_num_threads() == before


def test_never_two_have_their_turn_at_once() -> None:
    events: list[str] = []

    def work() -> None:
        turns = Turns(cores())
        for _ in range(30):
            with turns.taken():
                events.append("in")
                threading.Event().wait(0.0005)
                events.append("out")

    workers = [threading.Thread(target=work) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert events == ["in", "out"] * 90


def test_who_waits_in_vain_goes_on_and_takes_no_turns_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    holder = Turns(cores())
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
    waiting = Turns(cores())
    with holder.taken():
        with waiting.taken():
            pass
        waiting._turn.timeout = 1e9
        with waiting.taken():  # would wait for ever
            pass


@pytest.mark.parametrize("folder", ["missing", "file"])
def test_where_there_can_be_no_locks_the_block_runs_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folder: str
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / folder / "inner"))
    ran = []
    with Turns(cores()).taken():
        ran.append(1)
    assert ran == [1]


def test_a_step_on_few_of_the_cores_takes_no_turns(tmp_path: Path) -> None:
    with Turns(cores() // 2).taken():
        pass
    assert list(tmp_path.glob("*.lock")) == []
