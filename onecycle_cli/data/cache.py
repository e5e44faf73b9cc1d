"""The folder that keeps data between runs, and the locks on what is in it."""

import os
from contextlib import AbstractContextManager
from pathlib import Path

from filelock import FileLock

from onecycle_cli.errors import naming


def cache_folder() -> Path:
    """Returns `ONECYCLE_DATA` if set, else `onecycle` in the user's cache (`XDG_CACHE_HOME`, else `~/.cache`)."""
    if chosen := os.environ.get("ONECYCLE_DATA"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "onecycle"


def locked(path: Path) -> AbstractContextManager[object]:
    """Waits for the lock in the file `path`; the block that it is entered for holds it. `OSError` names the file."""
    with naming(path):
        return FileLock(path).acquire()
