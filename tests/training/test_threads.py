"""How many threads a step uses, and how processes that use most of the cores take turns."""

import tempfile
import threading
from pathlib import Path

import pytest
import torch
from torch import nn

from onecycle_cli.data.cores import cores
from onecycle_cli.training import threads as module
from onecycle_cli.training.threads import SMALL_STEP, Turns, multiply_adds, threads_beside, threads_of, using_threads


@pytest.fixture(autouse=True)
def _own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))


def test_multiply_adds_are_those_of_convolutions_and_linear_layers() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, stride=2, groups=2), nn.Flatten()
    )
    head = nn.Linear(8 * 3 * 3, 10)
    image = torch.zeros(1, 3, 8, 8)
    # By hand: outputs times weights of each; 8x8 pixels, then 3x3.
    by_hand = 8 * 8 * 8 * (3 * 9) + 8 * 3 * 3 * (4 * 9) + 10 * 72
    assert multiply_adds(nn.Sequential(model, head), image) == by_hand


def test_counting_takes_no_memory_for_a_large_image() -> None:
    model = nn.Conv2d(1, 1, 1)
    assert multiply_adds(model, torch.empty(1, 1, 2**20, 2**20, device="meta")) == 2**40


@pytest.mark.parametrize("side", [8, 520], ids=["real", "meta"])
def test_counting_leaves_the_network_as_it_was(side: int) -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert multiply_adds(model, torch.ones(1, 1, side, side)) == 2 * 9 * (side - 2) ** 2
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not any(layer._forward_hooks for layer in model)


def test_a_small_step_uses_one_thread_and_a_large_one_all() -> None:
    with using_threads(2):
        assert threads_of(SMALL_STEP - 1) == 1
        assert threads_of(SMALL_STEP) == 2


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
