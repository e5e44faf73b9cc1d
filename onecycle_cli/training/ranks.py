"""Ranks: the processes that compute one training together, and what they tell each other.

torchrun starts a process for each rank and describes the group in environment variables. The ranks talk through
torch.distributed: gloo between CPUs, NCCL between GPUs. All ranks run the same code on the same recipe and take the
same decisions. What only one of them can know, such as the content of the run's folder, rank 0 tells the others.

Imports torch only where several ranks are joined, so that a single process pays nothing for them.
"""

import re
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from onecycle_cli.errors import InputError, OnecycleError, ReportedElsewhere, is_out_of_memory, machine_error

if TYPE_CHECKING:
    from torch import Tensor
    from torch.distributed import ProcessGroup

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """The place of this process among the ranks of a training: number `rank` of `count`, from 0.

    `local_rank` and `local_count` count the ranks on this machine alone. Without a group there is one rank, and the
    methods return what they are given, or call it.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    local_count: int = 1
    patient: "ProcessGroup | None" = None
    """The group of the ranks with a long timeout, for work whose time differs between machines."""

    @property
    def first(self) -> bool:
        """Whether this is rank 0, which alone writes the run's folder and the screen."""
        return self.rank == 0

    @property
    def several(self) -> bool:
        """Whether there are other ranks."""
        return self.count > 1

    def add_up(self, tensor: "Tensor") -> "Tensor":
        """Adds a tensor over all ranks, in place, and returns it; the result has the same bits on every rank."""
        if self.several:
            from torch import distributed

            distributed.all_reduce(tensor)
        return tensor

    def largest(self, value: int) -> int:
        """Returns the largest value of all ranks, to every rank."""
        if not self.several:
            return value
        import torch
        from torch import distributed

        shared = torch.tensor([value])
        distributed.all_reduce(shared, distributed.ReduceOp.MAX)
        return int(shared.item())

    def wait(self) -> None:
        """Returns when every rank has come here."""
        self.largest(0)

    def all(self, value: T) -> list[T]:
        """Returns the values of all ranks, by rank. They travel as pickles."""
        if not self.several:
            return [value]
        from torch import distributed

        values: list[Any] = [None] * self.count
        distributed.all_gather_object(values, value, group=self.patient)
        return values

    def merged(self, own: Sequence[T]) -> list[T]:
        """Returns the values of all ranks in their original order: rank r gives the values r, r + count, ..."""
        parts = self.all(own)
        return [parts[number % self.count][number // self.count] for number in range(sum(map(len, parts)))]

    def from_first(self, make: Callable[[], T]) -> T:
        """Calls `make` on rank 0 and returns its result on every rank. Its error ends every rank; rank 0 reports it.

        The result travels as a pickle.
        """
        if not self.several:
            return make()
        from torch import distributed

        outcome: list[Any] = [None, None]
        if self.first:
            try:
                outcome[0] = make()
            except Exception as error:
                own = error if isinstance(error, OnecycleError) else machine_error(error)
                if own is None:
                    raise
                own.is_of_group = True
                outcome[1] = own.exit_code
                distributed.broadcast_object_list(outcome, group=self.patient)
                raise own from error
        distributed.broadcast_object_list(outcome, group=self.patient)
        made, exit_code = outcome
        if exit_code is not None:
            raise ReportedElsewhere(exit_code)
        return made  # type: ignore[no-any-return]

    def together(self, make: Callable[[], T]) -> T:
        """Calls `make` on every rank and returns its own result to each. An error on any rank ends them all.

        An error is reported once, by the lowest rank that has it. The message names the ranks that have it, unless all
        do.
        """
        if not self.several:
            return make()
        made, own = None, None
        try:
            made = make()
        except Exception as error:
            own = error if isinstance(error, OnecycleError) else machine_error(error)
            if own is None:
                raise
        told = self.all(None if own is None else (own.what, own.fix, own.exit_code))
        failed = [number for number, one in enumerate(told) if one is not None]
        if not failed:
            return made  # type: ignore[return-value]
        if own is None:
            raise ReportedElsewhere(next(one[2] for one in told if one is not None))
        alike = [number for number in failed if told[number] == told[self.rank]]
        if alike[0] != self.rank:
            raise ReportedElsewhere(own.exit_code)
        if len(alike) < self.count:
            name_ranks(own, ", ".join(map(str, alike)), len(alike))
        own.is_of_group = True
        raise own

    def must_agree(self, facts: Mapping[str, object]) -> None:
        """Raises `InputError` if one of the named facts differs between ranks; rank 0 reports which, and where.

        Facts are compared as text.
        """
        own = {name: str(value) for name, value in facts.items()} | {"": socket.gethostname()}
        first, *others = self.all(own)
        for rank, other in enumerate(others, start=1):
            for name in {**first, **other}:
                here, there = (values.get(name, "nothing") for values in (first, other))
                if not name or here == there:
                    continue
                error = InputError(
                    f"Rank {rank} on {other['']} has another {name} than rank 0 on {first['']}: {there}, not {here}.",
                    "Every rank needs the same recipe, images and versions: make the machines alike, then start again.",
                )
                error.is_of_group = True
                raise error if self.first else ReportedElsewhere(error.exit_code)


ALONE = Ranks()
"""The only rank: a process without a group."""


_LOST = re.compile(
    r"gloo|nccl|connection (closed|reset|refused)|broken pipe|timed out|socket|tcpstore|process group|peer",
    re.IGNORECASE,
)
"""What the messages of torch.distributed have in common when another rank has gone: it raises plain RuntimeErrors."""


def is_lost_rank(error: BaseException) -> bool:
    """Whether an error says that another rank ended, or did not answer in time."""
    if not isinstance(error, RuntimeError) or is_out_of_memory(error):
        return False
    from torch.distributed import DistError

    return isinstance(error, DistError) or _LOST.search(str(error)) is not None


def name_ranks(error: OnecycleError, ranks: str, count: int) -> None:
    """Puts the numbers of the ranks in front of an error's message."""
    error.what = f"Rank{'' if count == 1 else 's'} {ranks} on {socket.gethostname()}: {error.what}"
