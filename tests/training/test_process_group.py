"""How processes find each other."""

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from onecycle_cli.errors import InputError, MachineError
from onecycle_cli.training.joining import joined
from onecycle_cli.training.process_group import processes_here, timeout_seconds

OnRanks = Callable[..., list[Any]]


def test_the_environment_says_how_many_processes_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processes_here() == 1
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert processes_here() == 4


def test_an_incomplete_description_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(InputError, match="2 processes train together, without MASTER_ADDR, MASTER_PORT"), joined():
        pass


def join() -> None:
    with joined():
        pass


def test_a_missing_rank_is_told_with_those_that_came(on_ranks: OnRanks) -> None:
    first, second = on_ranks(3, join, missing=(2,), seconds=2)
    for error in (first, second):
        assert isinstance(error, MachineError)
        assert "could not join the others at 127.0.0.1:" in error.what
    assert "within 2 s: 2 of 3 came" in first.what


def test_an_address_that_nobody_listens_at_is_told(on_ranks: OnRanks) -> None:
    (error,) = on_ranks(2, join, missing=(0,), seconds=2)  # rank 0 keeps the address
    assert isinstance(error, MachineError)
    assert "Rank 1 of 2 could not join the others at 127.0.0.1:" in error.what


def test_what_killed_ranks_left_with_the_launcher_is_passed_over(on_ranks: OnRanks) -> None:
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    for rank in range(3):
        store.set(f"token {rank}", f"of a killed rank {rank}")
    old = '{"0": "of a killed rank 0", "1": "of a killed rank 1", "2": "of a killed rank 2"}'
    for key in ("tokens", "begun of a killed rank 0"):
        store.set(key, old)

    def add_up() -> float:
        os.environ |= {"MASTER_PORT": str(store.port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
        if os.environ["RANK"] == "0":
            time.sleep(0.2)  # the others come first, and see what was left
        with joined() as ranks:
            return ranks.add_up(torch.tensor([1.0])).item()

    assert on_ranks(3, add_up) == [3.0] * 3
    assert on_ranks(3, add_up) == [3.0] * 3  # and once more, with what the first group has left


@pytest.mark.parametrize("text", ["0", "-1", "soon", "nan", "inf", "1e9", ""])
def test_a_timeout_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("ONECYCLE_RANK_TIMEOUT", text)
    with pytest.raises(InputError, match="ONECYCLE_RANK_TIMEOUT is"):
        timeout_seconds()


def test_a_timeout_is_read_in_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    assert timeout_seconds() == 300
    monkeypatch.setenv("ONECYCLE_RANK_TIMEOUT", "1.5")
    assert timeout_seconds() == 1.5
