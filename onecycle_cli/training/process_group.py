"""Forms the group of processes that the environment describes: each finds the others, and knows its place."""

import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from time import monotonic, sleep
from typing import TYPE_CHECKING
from uuid import uuid4

from onecycle_cli.errors import InputError, MachineError
from onecycle_cli.training.ranks import Ranks

if TYPE_CHECKING:
    from torch.distributed.distributed_c10d import Store

TIMEOUT = "ONECYCLE_RANK_TIMEOUT"
"""The environment variable with the seconds that a rank waits for the others: to join, and in each step."""

TIMEOUT_SECONDS = 300.0
"""The wait for the other ranks where `ONECYCLE_RANK_TIMEOUT` is not set."""

PATIENCE_FACTOR = 12
"""How many timeouts a rank waits while others prepare: one machine may still decode images that another has decoded."""

JOIN_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""The environment variables that describe a group to a process; torchrun sets them."""


def processes_here() -> int:
    """Returns the number of processes of the group that the environment describes; 1 if it describes none.

    `InputError` if WORLD_SIZE is no number.
    """
    text = os.environ.get("WORLD_SIZE") or "1"
    if not text.isdecimal():
        raise InputError(f"WORLD_SIZE is '{text}'.", "It is the number of processes that train together: unset it.")
    return max(1, int(text))


def timeout_seconds() -> float:
    """Returns the seconds that a rank waits for the others. `InputError` if the environment names no such number."""
    text = os.environ.get(TIMEOUT)
    if text is None:
        return TIMEOUT_SECONDS
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds <= 86_400:
        raise InputError(f"{TIMEOUT} is '{text}'.", "Set it to seconds: above 0, at most 86400 (a day).")
    return seconds


def form_group() -> "tuple[Ranks, Store]":
    """Joins the group that the environment describes; returns the place of this process in it, and the group's store.

    The store holds what all ranks can read and write. `InputError` if the description is incomplete, `MachineError` if
    the other ranks do not come in time.
    """
    if missing := [name for name in JOIN_VARIABLES if not os.environ.get(name)]:
        raise InputError(
            f"WORLD_SIZE says that {os.environ['WORLD_SIZE']} processes train together, without {', '.join(missing)}.",
            "Start it with torchrun or with --processes N, which set them all, or unset WORLD_SIZE.",
        )
    rank, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    local_rank, local_count = (int(os.environ.get(name) or 0) for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"))
    seconds = timeout_seconds()
    # torch warns on each rank about sockets and about parameters that take part in each step; errors are still raised.
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    import torch
    from torch import distributed
    from torch.distributed.distributed_c10d import PrefixStore

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    timeout = timedelta(seconds=seconds)
    try:
        with _ended_after(2 * seconds + 10, rank, count):
            store = _meeting_point(rank, seconds)
            met = PrefixStore(_met(store, rank, count, seconds), store)
            distributed.init_process_group(backend, store=met, rank=rank, world_size=count, timeout=timeout)
            patient = distributed.new_group(backend="gloo", timeout=timeout * PATIENCE_FACTOR)
    except (RuntimeError, ValueError) as error:  # DistError and its kinds are RuntimeErrors
        raise _not_joined(rank, count, first_line(error)) from error
    assert not isinstance(patient, int)  # every rank is in this group
    return Ranks(rank, count, local_rank, local_count or 1, patient), met


def _meeting_point(rank: int, seconds: float) -> "Store":
    """Connects to the store at MASTER_ADDR and MASTER_PORT. The launcher keeps it, or else rank 0 does."""
    from torch.distributed import TCPStore  # type: ignore[attr-defined]  # public, and left out of __all__

    kept_by_launcher = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    store: Store = TCPStore(
        os.environ["MASTER_ADDR"],
        int(os.environ["MASTER_PORT"]),
        is_master=rank == 0 and not kept_by_launcher,
        timeout=timedelta(seconds=seconds),
        wait_for_workers=False,
    )
    return store


def _met(store: "Store", rank: int, count: int, seconds: float) -> str:
    """Waits until all ranks are there, and returns a name for this meeting that no earlier one had.

    The store of a launcher outlives its ranks. Those that it starts again would find the addresses of killed ones
    there, and refuse to go on ("connectFullMesh failed ... refused"; torch 2.14). So each rank writes a random token.
    Rank 0 publishes the list of tokens, again when one changes. A rank that finds its own token in the list confirms
    it. The meeting begins when all have confirmed.
    """
    token, end = uuid4().hex, monotonic() + seconds
    store.set(f"token {rank}", token)
    while monotonic() < end:
        if rank == 0:
            tokens = {other: _read(store, f"token {other}") for other in range(count)}
            shown = json.dumps(tokens)
            store.set("tokens", shown)
            if all(_read(store, f"agreed {one}") == shown for one in tokens.values() if one != token):
                store.set(f"begun {token}", shown)
                return token
        elif seen := _read(store, "tokens"):
            tokens = json.loads(seen)
            if tokens[str(rank)] == token:
                store.set(f"agreed {token}", seen)
                if _read(store, f"begun {tokens['0']}") == seen:
                    return str(tokens["0"])
        sleep(0.01)
    came = sum(_read(store, f"token {other}") is not None for other in range(count))
    raise _not_joined(rank, count, f"{came} of {count} came")


def _read(store: "Store", key: str) -> str | None:
    return store.get(key).decode() if store.check([key]) else None


@contextmanager
def _ended_after(seconds: float, rank: int, count: int) -> Iterator[None]:
    """Ends the process with a message if the block takes longer.

    gloo has been seen to wait for a dead rank for 300 s with a timeout of 60 s, and nothing can interrupt it.
    """

    def give_up() -> None:
        error = _not_joined(rank, count, "torch did not return")
        print(f"error: {error.what}\n{error.fix}", file=sys.__stderr__, flush=True)
        os._exit(error.exit_code)

    timer = threading.Timer(seconds, give_up)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _not_joined(rank: int, count: int, why: str) -> MachineError:
    where, why = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}", why.rstrip(".")
    return MachineError(
        f"Rank {rank} of {count} could not join the others at {where} within {timeout_seconds():g} s: {why}.",
        "Start all ranks at about the same time, each with the same number of processes and an address that every "
        f"machine reaches. {TIMEOUT} sets the seconds to wait.",
    )


def first_line(error: Exception) -> str:
    """Returns the first line of a message, without the place in torch's sources and advice to its developers."""
    line = (str(error) or type(error).__name__).splitlines()[0]
    return re.sub(r"^\[[^\]]*/[^\]]*\]\s*", "", line).partition(" This is typically")[0]
