"""Progress reports and notes of an experiment.

Experiments and data sources call a `Report` with a `Progress`, which moves a progress bar, or with a `str`, which is a
note on a separate line. The console shows both, a test collects them, and `silent` ignores them. `duration` formats
seconds for a person.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """The progress of a piece of work; `done` equals `total` once, at its end.

    `unit` is what is counted ("steps", "images", "bytes"). `loss` and `lr` are the latest values, None without any.
    `images_per_second` is the rate since the previous report of this work.
    """

    work: str
    done: int
    total: int
    unit: str
    loss: float | None = None
    lr: float | None = None
    images_per_second: float | None = None


Report = Callable[[Progress | str], None]
"""A function that receives progress and notes."""


def silent(_: Progress | str) -> None:
    """Ignores every report."""


def duration(seconds: float) -> str:
    """Formats seconds for a person: 45 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
