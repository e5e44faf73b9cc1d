"""Sends runs to a receiver of rows, from their folders: each row once, and the end of each run.

`python -m onecycle_cli.experiments.sending RUN RECEIVER` follows a run, and those inside it, until its standard input
is closed, and then sends what is left. What it has to say goes to standard output, a JSON object each line (`Word`).
"""

import json
import os
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from onecycle_cli.errors import OnecycleError, printable
from onecycle_cli.recipe import as_written
from onecycle_cli.recipe.loading import dotted_values
from onecycle_cli.run_dir.files import (
    BEST_MODEL,
    CONFUSION_FIGURE,
    EPOCHS,
    FIRST_LR_RANGE,
    LR_RANGE,
    LR_RANGE_FIGURE,
    MODEL,
    RANKING,
    RECIPE,
    RUN,
    SENT,
    STEPS,
    SUGGESTION,
    SUMMARY,
    SWEEP,
    SWEEP_FIGURE,
    TRAINING_FIGURE,
    TUNED_RECIPE,
)
from onecycle_cli.run_dir.finding import runs_in
from onecycle_cli.run_dir.receivers import RECEIVERS
from onecycle_cli.run_dir.receivers.receiver import Card, End, Point, Receiver
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.tail import Tail
from onecycle_cli.run_dir.writing import locked

GROWING, AT_THE_END = (STEPS, EPOCHS), (LR_RANGE, FIRST_LR_RANGE)
"""The tables that are sent. A range test may begin anew under the same name, so it is sent when the run has ended."""

FIGURES = (TRAINING_FIGURE, LR_RANGE_FIGURE, SWEEP_FIGURE, CONFUSION_FIGURE)
MODELS = (MODEL, BEST_MODEL)
FILES = (RECIPE, SUMMARY, SUGGESTION, SWEEP, RANKING, TUNED_RECIPE)

POLL_SECONDS = 2.0
"""The time between two looks for new rows."""

MOST_SECONDS_BETWEEN_TRIES = 60.0

LOCK_SECONDS = 15.0
"""How long another process that sends the same run is waited for."""

UPLOAD_BYTES_PER_SECOND = 1e6
"""The lowest speed at which files are sent."""

END_TRIES, MOST_FAILURES = 3, 2
"""How often the end of a run is tried, and after how many failures of runs a pass over a sweep stops."""


@dataclass(frozen=True)
class Word:
    """What this process says.

    It is alive, and may say nothing for `more` seconds than usual. There is `trouble`; if it is empty, no more. All is
    sent, so many `rows` of it now, and the run is `at` a place.
    """

    more: float = 0.0
    trouble: str | None = None
    rows: int | None = None
    at: str | None = None


MOST_ROWS = 200
"""The most rows that are sent at once."""

WITH_CELLS = ("sweep", "sweep-wd", "tune", "reproduce")
"""The commands whose runs have others inside."""

Say = Callable[[Word], None]


@dataclass
class Sent:
    """The content of `sent-to-RECEIVER.json`: what a receiver has of a run.

    `rows` are the numbers of rows of each table. `sending` has, by table, the end and the time of rows that were on
    their way and may have arrived. `ended` says which end of the run was sent, `id` and `at` where the run is.
    """

    place: str
    key: str
    rows: dict[str, int] = field(default_factory=dict)
    sending: dict[str, tuple[int, float]] = field(default_factory=dict)
    ended: str | None = None
    id: str | None = None
    at: str | None = None


class Sender:
    """Sends one run to one receiver. `parent` is the sender of the sweep that the run is a cell of."""

    def __init__(self, run: RunDir, receiver: str, say: Say, parent: "Sender | None" = None) -> None:
        self.run, self._parent = run, parent
        self._receiver, self._file, self._say = RECEIVERS[receiver].load(), SENT.format(receiver=receiver), say
        self._opened: Receiver | None = None
        self._tails = self._new_tails()
        self.rows = 0
        """The number of rows that this object has sent."""
        self.sent = self._read()

    def _new_tails(self) -> dict[str, Tail]:
        return {name: Tail(self.run.path / name) for name in (*GROWING, *AT_THE_END)}

    def _read(self) -> Sent:
        place, known = self._receiver.place(self.run.path), None
        with suppress(OSError, OnecycleError, TypeError):
            known = Sent(**self.run.read_json(self._file))
        if known is not None and known.place == place:
            return known
        return Sent(place, known.key if known else uuid4().hex[:16])

    def _write(self) -> None:
        self.run.write_json(self._file, asdict(self.sent))

    def update(self) -> None:
        """Sends what is new, and the end of a run that has ended."""
        facts, status = self.run.facts, self.run.status
        end = f"{status} {facts['ended']}"
        is_ending = status != "running" and self.sent.ended != end
        names = GROWING if status == "running" else (*GROWING, *AT_THE_END)
        behind = [name for name in names if self._is_behind(name)]  # of all tables: it passes over what was sent
        if not behind and not is_ending:
            return
        if status != "running":
            for name in names:
                self.run.intact(name)
        self.open()
        for name in names:
            self._send_rows(name)
        if is_ending:
            self.open().end(self._end(facts, status))
            self.sent.ended = end
            self._write()
            self.close()  # some receivers take nothing more

    def _is_behind(self, name: str) -> bool:
        """Whether a table has rows that were not sent; passes over those that were."""
        tail, sent = self._tails[name], self.sent.rows.get(name, 0)
        while (rows := tail.next()) and tail.row + len(rows) <= sent:
            tail.take()
        if self._receiver.takes_back and (tail.was_replaced or tail.row + len(rows) < sent):
            self.close()  # opened again, it is sent everything
            self.sent.rows.clear()
        tail.was_replaced = False
        return tail.row + len(rows) > self.sent.rows.get(name, 0)

    def _send_rows(self, name: str) -> None:
        tail = self._tails[name]
        seeds: list[str] = []
        if name in AT_THE_END:
            seeds = list(dict.fromkeys(row.get("seed", "") for row in self.run.read_growing_table(name)))
        while rows := tail.next():
            first = max(tail.row, self.sent.rows.get(name, 0))
            points = [
                Point(int(row["step"]), numbers_of_row(prefix_of(name, row, seeds), row))
                for row in rows[first - tail.row :]
            ]
            self._send(name, points, first, tail.time)
            tail.take()

    def _send(self, name: str, points: Sequence[Point], first: int, written: float) -> None:
        """Sends rows of a table. Before, it is written down which, so that they can be sent again as they were."""
        while points:
            if name not in self.sent.sending:
                self.sent.sending[name] = (first + min(MOST_ROWS, len(points)), written)
                self._write()
            end, sent_at = self.sent.sending[name]
            part, points = points[: end - first], points[end - first :]
            self._say(Word())
            self.open().send(part, sum(self.sent.rows.values()), sent_at)
            first += len(part)
            self.sent.rows[name] = first
            del self.sent.sending[name]
            self.rows += len(part)
            self._write()

    def open(self) -> Receiver:
        """Returns the run in the receiver, which is opened now if it was not yet."""
        if self._opened is None:
            self._say(Word())
            self._write()  # the key is known before the receiver has it
            self._opened = self._receiver(self._card())
            if self._opened.new:
                self.sent.rows, self.sent.sending, self.sent.ended = {}, {}, None
                self._tails = self._new_tails()
            self.sent.place, self.sent.id = self._receiver.place(self.run.path), self._opened.id
            self.sent.at = self._opened.at
            self._write()
        return self._opened

    @property
    def id(self) -> str:
        """The id of the run in the receiver."""
        return self.sent.id or self.open().id

    def close(self) -> None:
        """Closes the run in the receiver."""
        if self._opened is not None:
            self._say(Word())
            self._opened.close()
            self._opened = None

    def abandon(self) -> None:
        """Ends the run in the receiver, because its folder has another one now."""
        if self._opened is not None:
            self._opened.end(End("interrupted", datetime.now(UTC), {}, (), (), ()))
            self.close()

    def _card(self) -> Card:
        facts, parent = self.run.facts, self._parent
        group = parent.run if parent else self.run if facts["command"] in WITH_CELLS else None
        return Card(
            self.sent.key,
            self.run.path,
            facts["command"],
            group=group.path.name if group else None,
            parent=parent.id if parent and self._receiver.has_parents else None,
            started=datetime.fromisoformat(facts["started"]),
            running=self.run.status == "running",
            parameters={name: _plain(value) for name, value in dotted_values(self.run.intact(RECIPE)).items()},
            tags=tags_of(facts),
        )

    def _end(self, facts: Mapping[str, Any], status: str) -> End:
        def there(names: Sequence[str]) -> list[Path]:
            return [path for name in names if (path := self.run.intact(name)).is_file()]

        models, files, figures = there(MODELS), there(FILES), there(FIGURES)
        size = sum(path.stat().st_size for path in (*models, *files, *figures))
        self._say(Word(more=size / UPLOAD_BYTES_PER_SECOND))
        ended = datetime.fromisoformat(facts["ended"]) if facts["ended"] else datetime.now(UTC)
        return End(status, ended, numbers_of_summary(self.run.summary), figures, models, files)


def prefix_of(name: str, row: Mapping[str, str], seeds: Sequence[str]) -> str:
    """Returns what the names of a row's numbers begin with: the table, and which repeat of the range test it is."""
    repeat = 1 + seeds.index(row.get("seed", "")) if seeds else 1
    return Path(name).stem if repeat == 1 else f"{Path(name).stem}_{repeat}"


def numbers_of_row(prefix: str, row: Mapping[str, str]) -> dict[str, float]:
    """Returns the numbers of a table's row by name, such as `steps/lr`, without those that count the rows."""
    named = {name: cell for name, cell in row.items() if name not in ("step", "epoch", "seed") and cell}
    return {f"{prefix}/{name}": float(cell) for name, cell in named.items()}


def numbers_of_summary(summary: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers of `summary.json` by name, such as `summary/valid_loss`."""
    return {
        f"summary/{name}": float(value)
        for name, value in summary.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


TAGS = ("command", "command_line", "recipe", "git_commit", "host", "platform", "device_name", "precision")
"""The facts of `run.json` that are tags of a run, beside the versions."""


def tags_of(facts: Mapping[str, Any]) -> dict[str, str]:
    """Returns what a receiver can search runs by."""
    versions = {f"version.{name}": version for name, version in (facts.get("versions") or {}).items()}
    known = {name: facts.get(name) for name in TAGS} | versions
    return {name: str(value) for name, value in known.items() if value is not None}


def _plain(value: Any) -> Any:
    """Returns a field's value as one that every receiver takes: text, a number, true or false."""
    return value if isinstance(value, str | int | float | bool) else as_written(value)


class Sending:
    """Sends a run, and those inside it as they appear."""

    def __init__(self, run: RunDir, receiver: str, say: Say) -> None:
        self._run, self._receiver, self._say = run, receiver, say
        outer = RunDir(run.path.parent)
        self._parent = Sender(outer, receiver, say) if (outer.path / RUN).is_file() else None
        self._senders: dict[tuple[str, int], Sender] = {}
        self._failed: set[tuple[str, int]] = set()
        self._rows_before = 0

    def update(self) -> None:
        """Sends what is new of all runs. Raises the first failure, after others were tried."""
        failures: list[Exception] = []
        senders = self._found()
        for key in sorted(senders, key=lambda key: key in self._failed):  # a stable sort
            try:
                senders[key].update()
                self._failed.discard(key)
            except Exception as error:
                self._failed.add(key)
                failures.append(error)
                if len(failures) == MOST_FAILURES:
                    break
        if failures:
            raise failures[0]

    def close(self) -> None:
        """Closes all runs in the receiver."""
        for sender in (*self._senders.values(), *([self._parent] if self._parent else [])):
            sender.close()

    @property
    def rows(self) -> int:
        """How many rows were sent."""
        return self._rows_before + sum(sender.rows for sender in self._senders.values())

    @property
    def at(self) -> str | None:
        """Where a person finds the run."""
        return next(iter(self._senders.values())).sent.at

    def _found(self) -> dict[tuple[str, int], Sender]:
        """Returns the senders of the run and of those inside. A cell that began anew is another run."""
        found: dict[tuple[str, int], Sender] = {}
        for run in (self._run, *(one for one in runs_in(self._run) if one.path != self._run.path)):
            with suppress(FileNotFoundError):  # an interrupted cell that is moved away now
                key = (run.path.name, run.path.stat().st_ino)
                parent = next(iter(found.values()), self._parent)
                found[key] = self._senders.get(key) or Sender(run, self._receiver, self._say, parent)
        for key in self._senders.keys() - found.keys():
            self._senders[key].abandon()
            self._rows_before += self._senders[key].rows
        self._senders = found
        return found


def cause_of(error: BaseException) -> str:
    """Returns why something failed, in a line: the error of the operating system behind it, if there is one."""
    one: BaseException | None = error
    while one is not None:
        if isinstance(one, OSError) and one.errno is not None and one.strerror:
            return f"{printable(one.filename)}: {one.strerror}" if isinstance(one.filename, str) else one.strerror
        reason = getattr(one, "reason", None)  # of urllib an exception, of Unicode a text
        one = one.__cause__ or one.__context__ or (reason if isinstance(reason, BaseException) else None)
    text = error.what.removesuffix(".") if isinstance(error, OnecycleError) else str(error)
    first = next((line.strip() for line in text.splitlines() if line.strip()), type(error).__name__)
    return printable(first[:300])


def follow(run: RunDir, receiver: str, say: Say, ended: Callable[[float], bool]) -> bool:
    """Sends a run until `ended(seconds)`, which waits so long for its end, and then what is left.

    Returns whether everything was sent.
    """
    from filelock import Timeout

    outer = run.path.parent if (run.path.parent / RUN).is_file() else run.path
    with ExitStack() as held:
        try:
            held.enter_context(locked(outer / f".{SENT.format(receiver=receiver)}.lock", LOCK_SECONDS))
        except Timeout:
            say(Word(trouble="another process sends it"))
            return False
        return _followed(run, receiver, say, ended)


def _followed(run: RunDir, receiver: str, say: Say, ended: Callable[[float], bool]) -> bool:
    pause, is_over = POLL_SECONDS, False

    def heartbeat(word: Word) -> None:
        if is_over:  # nobody waits before
            say(word)

    sending = Sending(run, receiver, heartbeat)
    while not ended(pause):
        try:
            sending.update()
            if pause != POLL_SECONDS:
                say(Word(trouble=""))
            pause = POLL_SECONDS
        except Exception as error:
            say(Word(trouble=cause_of(error)))
            pause = min(2 * pause, MOST_SECONDS_BETWEEN_TRIES)
    is_over = True
    tries = END_TRIES if pause == POLL_SECONDS else 1  # else it is known to fail
    for last in range(tries):
        say(Word())
        try:
            sending.update()
            sending.close()
        except Exception as error:
            say(Word(trouble=cause_of(error)))
            if last < tries - 1:
                time.sleep(1)
        else:
            say(Word(rows=sending.rows, at=sending.at))
            return True
    return False


def _has_ended(seconds: float) -> bool:
    """Waits so long for the end of standard input."""
    ready, _, _ = select.select([sys.stdin], [], [], seconds)
    return bool(ready) and not os.read(sys.stdin.fileno(), 100)


def main(path: str, receiver: str) -> int:
    """Follows the run in the folder `path`; returns the exit code."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # a cluster signals all processes, and this one has to send the end
    os.nice(10)
    words = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # libraries print to standard output

    def say(word: Word) -> None:
        with suppress(BrokenPipeError):  # the command was killed
            words.write(json.dumps(asdict(word)).encode() + b"\n")
            words.flush()

    return 0 if follow(RunDir(path), receiver, say, _has_ended) else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
