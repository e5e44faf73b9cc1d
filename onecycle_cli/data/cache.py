"""The folder that keeps data between runs, and the locks on what is in it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import BaseFileLock, FileLock

from onecycle_cli.errors import naming


def cache_folder() -> Path:
    """Returns `ONECYCLE_DATA` if set, else `onecycle` in the user's cache (`XDG_CACHE_HOME`, else `~/.cache`)."""
    if chosen := os.environ.get("ONECYCLE_DATA"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "onecycle"


@contextmanager
def locked(path: Path) -> Iterator[BaseFileLock]:
    """Waits for the lock in the file `path`, and holds it for the block, which may let it go before its end.

    `OSError` of the lock names the file.
    """
    lock = FileLock(path)
    with naming(path):
        lock.acquire()
    try:
        yield lock
    finally:
        with naming(path):
            lock.release()
