"""What an experiment tells the person who waits for it: one callable takes it all.

A `str` is a note worth a line of its own; a `Progress` moves a bar. Experiments and data sources call it, the console
shows it, a test collects it, and `silent` drops it.
"""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """How far a piece of work has come; `done` equals `total` once, at its end.

    `unit` is what is counted ("steps", "images", "bytes"). `loss` and `lr` are the latest, where there are any, and
    `images_per_second` the rate since the previous report of this work.
    """

    work: str
    done: int
    total: int
    unit: str
    loss: float | None = None
    lr: float | None = None
    images_per_second: float | None = None


Report = Callable[[Progress | str], None]


def silent(_: Progress | str) -> None:
    """Tells nobody."""
