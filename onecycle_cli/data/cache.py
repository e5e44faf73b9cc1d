"""The folder that keeps data between runs."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """Returns `ONECYCLE_DATA` if set, else `onecycle` in the user's cache (`XDG_CACHE_HOME`, else `~/.cache`)."""
    if chosen := os.environ.get("ONECYCLE_DATA"):
        return Path(chosen).expanduser().absolute()
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser().absolute() / "onecycle"
