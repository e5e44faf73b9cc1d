"""The number of CPU cores that this process may use."""

import os


def cores() -> int:
    """The cores this process may use; macOS knows no affinity."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
