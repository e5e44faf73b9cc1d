"""How processes become ranks of one group, and how each of them ends."""

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch

from onecycle_cli.errors import InputError, MachineError, ReportedElsewhere, Terminated
from onecycle_cli.training.joining import joined
from onecycle_cli.training.ranks import ALONE

OnRanks = Callable[..., list[Any]]


def test_without_a_description_there_is_one_rank() -> None:
    with joined() as ranks:
        assert ranks is ALONE


def test_a_group_of_one_is_one_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "1")
    with joined() as ranks:
        assert ranks is ALONE


def test_each_rank_knows_its_place(on_ranks: OnRanks) -> None:
    def place() -> Any:
        with joined() as ranks:
            return ranks.rank, ranks.count, ranks.local_rank, ranks.local_count

    assert on_ranks(2, place) == [(0, 2, 0, 2), (1, 2, 1, 2)]


def test_a_killed_rank_ends_the_others_and_the_first_tells_it(on_ranks: OnRanks) -> None:
    def work() -> None:
        with joined() as ranks:
            ranks.wait()
            if ranks.rank == 1:
                os._exit(1)
            ranks.add_up(torch.ones(1))

    first, second, third = on_ranks(3, work)
    assert isinstance(first, MachineError)
    assert "Rank 0 of 3 lost another rank" in first.what
    assert second is None
    assert type(third) is ReportedElsewhere


def test_an_error_of_all_ranks_is_told_once_also_if_one_of_them_is_slow(
    on_ranks: OnRanks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first rank keeps the store in which the others look for the ranks that have the error."""

    def work() -> None:
        with joined() as ranks:
            if not ranks.first:
                monkeypatch.setattr("onecycle_cli.training.joining.sleep", lambda seconds: time.sleep(20 * seconds))
            raise InputError("The same.", "On all ranks.")

    first, second, third = on_ranks(3, work)
    assert (type(first), first.what) == (InputError, "The same.")
    assert type(second) is type(third) is ReportedElsewhere


@pytest.mark.slow
def test_a_rank_that_does_not_answer_is_told_in_time(on_ranks: OnRanks) -> None:
    def work() -> None:
        with joined() as ranks:
            ranks.wait()
            if ranks.rank == 1:
                time.sleep(6)
                os._exit(1)
            ranks.add_up(torch.ones(1))

    first, _ = on_ranks(2, work, seconds=2)
    assert isinstance(first, MachineError)
    assert "did not answer in 2 s" in first.what


def test_an_error_on_one_rank_is_told_there_and_not_as_a_loss(on_ranks: OnRanks) -> None:
    def work() -> None:
        with joined() as ranks:
            ranks.wait()
            if ranks.rank == 1:
                raise InputError("There is no such file.", "Name another.")
            ranks.add_up(torch.ones(1))

    first, second = on_ranks(2, work)
    assert type(first) is ReportedElsewhere
    assert second.what.startswith("Rank 1 on ")


def test_an_error_of_all_ranks_is_told_once_without_a_rank(on_ranks: OnRanks) -> None:
    def work() -> None:
        with joined():
            raise InputError("There is no such flag.", "Leave it out.")

    first, second = on_ranks(2, work)
    assert first.what == "There is no such flag."
    assert type(second) is ReportedElsewhere


def test_an_interrupt_is_told_by_the_first_rank(on_ranks: OnRanks) -> None:
    def work() -> Any:
        try:
            with joined():
                raise Terminated
        except BaseException as end:
            return type(end), getattr(end, "exit_code", None)

    assert on_ranks(2, work) == [(Terminated, 143), (ReportedElsewhere, 143)]


def test_only_the_first_rank_prints(on_ranks: OnRanks, capfd: pytest.CaptureFixture[str]) -> None:
    def work() -> None:
        with joined() as ranks:
            print(f"from {ranks.rank}", flush=True)

    with capfd.disabled():
        pass
    on_ranks(2, work)
    assert capfd.readouterr().out == "from 0\n"


def test_other_errors_stay_as_they_are(on_ranks: OnRanks) -> None:
    def work() -> None:
        with joined():
            raise RuntimeError("shape mismatch")

    assert [str(error) for error in on_ranks(2, work)] == ["shape mismatch"] * 2
