"""The interface of a receiver of rows, and what it is given."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Protocol


@dataclass(frozen=True)
class Point:
    """The numbers of one row of a table, by name, such as `steps/train_loss`, at a step."""

    step: int
    values: Mapping[str, float]


@dataclass(frozen=True)
class Card:
    """What a receiver is told of a run when it opens it.

    `key` names the run, in all processes that ever send it. `group` is the sweep's name, for the sweep and its cells,
    and `parent` the id of the sweep in the receiver. `running` says that rows will follow.
    """

    key: str
    folder: Path
    command: str
    group: str | None
    parent: str | None
    started: datetime
    running: bool
    parameters: Mapping[str, Any]
    tags: Mapping[str, str]

    @property
    def name(self) -> str:
        """The name of the run: that of its folder."""
        return self.folder.name


@dataclass(frozen=True)
class End:
    """What a receiver is told at the end of a run: `numbers` of the summary, by name, figures, models, other files."""

    status: str
    ended: datetime
    numbers: Mapping[str, float]
    figures: Sequence[Path]
    models: Sequence[Path]
    files: Sequence[Path]


class Receiver(Protocol):
    """A run in a receiver. Any exception of it is one more try later."""

    has_parents: ClassVar[bool]
    """Whether a run can be inside another."""

    takes_back: ClassVar[bool]
    """Whether a run that is opened again begins anew, and so can lose rows that a resumed training has no more."""

    environment: ClassVar[Mapping[str, str]]
    """The environment variables that its process gets, where a person has not set them."""

    new: bool
    """Whether the receiver has nothing of this run yet, or has forgotten it."""

    id: str
    """The id of the run in the receiver."""

    at: str
    """Where a person finds the run."""

    def __init__(self, card: Card) -> None:
        """Opens the run of that key, or makes it."""

    @staticmethod
    def place(folder: Path) -> str:
        """Returns where the rows of the run in `folder` go; what was sent to another place does not count."""

    def send(self, points: Sequence[Point], first: int, time: float) -> None:
        """Sends points, the first of which is number `first` of the run, measured by `time` (seconds since 1970).

        The same points may come twice with the same number and time, if nobody knows whether they arrived.
        """

    def end(self, end: End) -> None:
        """Sends the end of the run; it may come again, with the same or another end."""

    def close(self) -> None:
        """Returns when everything is where it should be."""


def without_secrets(address: str) -> str:
    """Returns an address without the name and the password in it, and without what follows a question mark.

    What is kept of a delivery stands in the folder of the run, which people pack and send to others. A password may
    hold any character: all is left out up to the last @ before a question mark. A path may hold an @ too, as in
    `sqlite:////home/me@work/ml.db`; there is no name before a colon in it.
    """
    return re.sub(r"(?<=://)(?:[^/:?@]*:[^@]*@(?:[^?]*@)?|[^/?]*@)|\?.*", "", address)
