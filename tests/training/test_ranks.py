"""What ranks tell each other."""

import errno
from collections.abc import Callable
from typing import Any

import pytest
import torch

from onecycle_cli.errors import InputError, MachineError, ReportedElsewhere
from onecycle_cli.training.joining import joined
from onecycle_cli.training.ranks import ALONE, Ranks

OnRanks = Callable[..., list[Any]]


def inside(function: Callable[[Ranks], Any]) -> Callable[[], Any]:
    """The function on a rank that has joined its group."""

    def run() -> Any:
        with joined() as ranks:
            return function(ranks)

    return run


def test_a_process_without_a_group_is_the_first_and_only_rank() -> None:
    assert ALONE.first
    assert not ALONE.several
    assert ALONE.largest(3) == 3
    assert ALONE.all("a") == ["a"]
    assert ALONE.merged([1, 2]) == [1, 2]
    assert ALONE.from_first(lambda: 3) == ALONE.together(lambda: 3) == 3
    assert ALONE.add_up(torch.ones(2)).tolist() == [1, 1]
    ALONE.must_agree({"recipe": "a"})


def test_ranks_add_up_and_agree(on_ranks: OnRanks) -> None:
    def talk(ranks: Ranks) -> Any:
        total = ranks.add_up(torch.tensor([1.0 + ranks.rank])).item()
        own = list(range(7))[ranks.rank :: ranks.count]
        first = ranks.from_first(lambda: f"of rank {ranks.rank}")
        return total, ranks.largest(ranks.rank), ranks.merged(own), first, ranks.together(lambda: 5)

    assert on_ranks(3, inside(talk)) == [(6.0, 2, [0, 1, 2, 3, 4, 5, 6], "of rank 0", 5)] * 3


def failing(*ranks_that_fail: int) -> Callable[[Ranks], Any]:
    def work(ranks: Ranks) -> Any:
        def make() -> str:
            if ranks.rank in ranks_that_fail:
                raise InputError("There are no images.", "Put some there.")
            return "made"

        return ranks.together(make)

    return work


def test_an_error_of_one_rank_ends_all_and_is_told_once_with_its_rank(on_ranks: OnRanks) -> None:
    first, second, third = on_ranks(3, inside(failing(1)))
    assert type(first) is type(third) is ReportedElsewhere
    assert isinstance(second, InputError)
    assert second.what.startswith("Rank 1 on ")
    assert second.what.endswith(": There are no images.")
    assert [one.exit_code for one in (first, second, third)] == [2, 2, 2]


def test_an_error_of_several_ranks_is_told_by_the_lowest_of_them(on_ranks: OnRanks) -> None:
    first, second, third = on_ranks(3, inside(failing(1, 2)))
    assert type(first) is type(third) is ReportedElsewhere
    assert second.what.startswith("Ranks 1, 2 on ")


def test_an_error_of_all_ranks_is_told_by_the_first_as_if_it_were_alone(on_ranks: OnRanks) -> None:
    first, second = on_ranks(2, inside(failing(0, 1)))
    assert first.what == "There are no images."
    assert type(second) is ReportedElsewhere


def test_an_error_in_what_the_first_rank_looks_up_ends_all(on_ranks: OnRanks) -> None:
    def look_up(ranks: Ranks) -> Any:
        def make() -> str:
            assert ranks.first
            raise InputError("There is no run.", "Name another.")

        return ranks.from_first(make)

    first, second = on_ranks(2, inside(look_up))
    assert first.what == "There is no run."
    assert type(second) is ReportedElsewhere
    assert second.exit_code == 2


def test_ranks_that_differ_are_told_what_in_and_where(on_ranks: OnRanks) -> None:
    def compare(ranks: Ranks) -> None:
        ranks.must_agree({"version": "1.0", "set of train images": 100 if ranks.rank < 2 else 99})

    first, *others = on_ranks(3, inside(compare))
    assert isinstance(first, InputError)
    assert "Rank 2 on " in first.what
    assert "another set of train images than rank 0" in first.what
    assert first.what.endswith("99, not 100.")
    assert [type(one) for one in others] == [ReportedElsewhere] * 2


@pytest.mark.parametrize("count", [2, 3])
def test_values_of_all_ranks_come_in_order(on_ranks: OnRanks, count: int) -> None:
    assert on_ranks(count, inside(lambda ranks: ranks.all(ranks.rank))) == [list(range(count))] * count


def test_an_error_of_the_machine_on_one_rank_ends_all_too(on_ranks: OnRanks) -> None:
    def work(ranks: Ranks) -> Any:
        def read() -> None:
            if ranks.rank == 1:
                raise PermissionError(errno.EACCES, "Permission denied", "/cache")

        return ranks.together(read)

    first, second = on_ranks(2, inside(work))
    assert type(first) is ReportedElsewhere
    assert isinstance(second, MachineError)
    assert second.what.startswith("Rank 1 on ")
    assert second.what.endswith("Permission denied: /cache.")


def test_a_fact_that_only_one_rank_has_is_told(on_ranks: OnRanks) -> None:
    first, _ = on_ranks(2, inside(lambda ranks: ranks.must_agree({"size": 1} if ranks.first else {"size": 1, "lr": 2})))
    assert "another lr than rank 0" in first.what
    assert first.what.endswith(": 2, not nothing.")
