"""Joins the processes of one training, as torchrun describes them, and reports the end of each of them once."""

import hashlib
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from time import monotonic, sleep
from typing import TYPE_CHECKING

from onecycle_cli.errors import MachineError, OnecycleError, ReportedElsewhere, Terminated, machine_error
from onecycle_cli.training.process_group import TIMEOUT, first_line, form_group, processes_here, timeout_seconds
from onecycle_cli.training.ranks import ALONE, Ranks, is_lost_rank, name_ranks

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store


@contextmanager
def joined() -> Iterator[Ranks]:
    """Joins the group of ranks that the environment describes, for the block; yields `ALONE` where there is none.

    Inside the block, only rank 0 prints. Errors get the number of their rank. If another rank ends, or does not answer
    in time, rank 0 raises a `MachineError`. Enter it before torch is imported. `InputError` if the description is
    incomplete, `MachineError` if ranks do not come in time.
    """
    if processes_here() == 1:
        yield ALONE
        return
    try:
        ranks, store = form_group()
    except (KeyboardInterrupt, Terminated) as end:
        if os.environ["RANK"] == "0":
            raise
        raise ReportedElsewhere(getattr(end, "exit_code", 130)) from None
    from torch import distributed

    if "TORCHELASTIC_RUN_ID" in os.environ:
        threading.Thread(target=_end_with_launcher, args=(os.getppid(),), daemon=True).start()
    try:
        with nullcontext() if ranks.first else _without_a_screen():
            yield ranks
    except (KeyboardInterrupt, Terminated, Exception) as end:
        own = _own_end(end, ranks, store)
        reports = isinstance(own, OnecycleError) and not isinstance(own, ReportedElsewhere)
        if not (ranks.first or reports):
            _linger()
        if own is end:
            raise
        raise own from None
    finally:
        distributed.destroy_process_group()


LINGER_SECONDS = 5.0
"""How long a rank with nothing to report stays when it has to end: its launcher then ends all other ranks at once, also
the one that reports the error or writes a checkpoint."""


def _linger() -> None:
    with suppress(KeyboardInterrupt, Terminated):
        sleep(LINGER_SECONDS)


def _end_with_launcher(launcher: int) -> None:
    """Ends this rank, as SIGTERM does, when the process that started it is gone: nobody would end it otherwise."""
    while os.getppid() == launcher:
        sleep(1)
    os.kill(os.getpid(), signal.SIGTERM)


def _own_end(end: BaseException, ranks: Ranks, store: "Store") -> BaseException:
    """Returns what this rank raises for the end of a block: the end itself, or `ReportedElsewhere`."""
    match end:
        case ReportedElsewhere():
            return end
        case KeyboardInterrupt() | Terminated():
            return end if ranks.first else ReportedElsewhere(getattr(end, "exit_code", 130))
        case RuntimeError() if is_lost_rank(end):
            if not ranks.first or _is_reported(store):
                return ReportedElsewhere(MachineError.exit_code)
            return MachineError(
                f"Rank 0 of {ranks.count} lost another rank: it ended, or did not answer in {timeout_seconds():g} s.",
                f"Look for a message of that rank. {TIMEOUT} sets the seconds to wait. It said: {first_line(end)}",
            )
        case OnecycleError():
            having = _ranks_with(end, ranks, store)
            if having[0] != ranks.rank:
                return ReportedElsewhere(end.exit_code)
            if not end.is_of_group and len(having) < ranks.count:
                name_ranks(end, ", ".join(map(str, having)), len(having))
            return end
        case Exception() if machine := machine_error(end):
            for note in getattr(end, "__notes__", []):
                machine.add_note(note)
            return _own_end(machine, ranks, store)
    return end


@contextmanager
def _without_a_screen() -> Iterator[None]:
    """Discards what is printed in the block: rank 0 prints the same."""
    with Path(os.devnull).open("w", encoding="utf-8") as nowhere, redirect_stdout(nowhere), redirect_stderr(nowhere):
        yield


def _ranks_with(error: OnecycleError, ranks: Ranks, store: "Store") -> list[int]:
    """Returns the ranks that end with this error, in order. Waits a second for others to have it too."""
    text = f"{error.what}\n{error.fix}"
    key = hashlib.sha256(text.encode()).hexdigest()
    having = [ranks.rank]
    try:
        store.set(REPORTED, "")
        store.set(f"{key}/{ranks.rank}", "")
        end = monotonic() + 1.0
        while not error.is_of_group and len(having) < ranks.count and monotonic() < end:
            sleep(0.01)
            having = _ranks_under(key, ranks, store)
        # The first rank may keep the store, which ends with it: it stays until the others have read it too.
        store.set(f"{key}/read/{ranks.rank}", "")
        while ranks.first and not {*having} <= {*_ranks_under(f"{key}/read", ranks, store)} and monotonic() < end:
            sleep(0.01)
    except RuntimeError:  # the store went with the rank that kept it
        pass
    return having


def _ranks_under(key: str, ranks: Ranks, store: "Store") -> list[int]:
    """Returns the ranks that have set their key under `key`, in order."""
    return [rank for rank in range(ranks.count) if store.check([f"{key}/{rank}"])]


REPORTED = "reported"
"""The key in the store of a group which says that a rank reports an error."""


def _is_reported(store: "Store") -> bool:
    """Whether a rank reports an error, from which the loss of that rank follows."""
    try:
        return store.check([REPORTED])
    except RuntimeError:
        return False
