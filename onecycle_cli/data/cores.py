"""The number of CPU cores that this process may use."""

import os


def cores() -> int:
    """Returns the number of cores in this process's affinity mask; macOS has none, so all cores there."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
