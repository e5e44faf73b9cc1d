"""The folder of a run: creation, status, and reading and writing of its files."""

import csv
import errno
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from io import StringIO
from itertools import count
from pathlib import Path
from time import monotonic
from typing import Any, Literal, TypeVar
from uuid import uuid4

from onecycle_cli.errors import InputError, Terminated, all_from_utf8, from_utf8, naming
from onecycle_cli.run_dir.checksums import (
    ANY,
    FILES,
    OWN,
    are_sums,
    has_its_own,
    is_complete,
    must_be_as_written,
    sha256_in,
    sha256_of,
    sums_in,
    with_own,
)
from onecycle_cli.run_dir.facts import clock_facts, is_process_gone, iso, order, process_facts, this_process
from onecycle_cli.run_dir.files import IMAGES, LASTING, LOCK, NETWORK, RECIPE, REPEAT, RUN, SUMMARY
from onecycle_cli.run_dir.newest import newest_key
from onecycle_cli.run_dir.rows import Rows
from onecycle_cli.run_dir.writing import Table, json_ready, locked, make_folder, move, write_whole

Status = Literal["running", "finished", "diverged", "collapsed", "interrupted", "failed"]

Facts = Mapping[str, Any]
Found = TypeVar("Found")

NAME = r"[A-Za-z0-9][A-Za-z0-9._=-]*"
"""The pattern of a name that a person may give to a run."""

KNOWN_FROM_THE_START = {"command", "recipe", "status", "started"}

NO_FILE = (FileNotFoundError, NotADirectoryError, PermissionError)
"""The errors of reading a file that is not there, or that another person keeps to themselves."""


class RunDir:
    """The folder of one run, through which its files are read and written; `run.json` holds the run's status."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._since: float | None = None  # on a clock that nobody sets: when this process began the run

    @staticmethod
    def create(
        runs_dir: Path, *, command: str, recipe_name: str, recipe_yaml: str, facts: Mapping[str, Any], name: str | None
    ) -> "RunDir":
        """Creates a folder in `runs_dir`, named by the time or `name`, with the recipe and the facts of the run.

        `facts` are added to the process facts: the device, the precision, the seed, the command line. `InputError` when
        `name` is not a valid name, or a run of that name exists.
        """
        if name is not None:
            _must_be_a_name(name)
        started, since = datetime.now(UTC), monotonic()
        known = {"command": command, "recipe": recipe_name} | _begun(started) | process_facts() | dict(facts)
        make_folder(runs_dir)
        known |= clock_facts(started, [newest_key(runs_dir, _keys_in)])
        with _whole(runs_dir, recipe_yaml, known) as beside:
            if name is None:
                run = _put_under_a_free_name(beside, runs_dir / f"{started:%Y%m%d-%H%M%S}-{command}-{recipe_name}")
            elif put(beside, runs_dir / name):
                run = RunDir(runs_dir / name)
            else:
                what = f"A run named '{name}' already exists: {runs_dir / name}."
                raise InputError(what, "Give another --name.")
        run._since = since
        return run

    def inner(self, name: str, recipe_yaml: str) -> "RunDir":
        """Creates a run inside this one, such as one value of a sweep, with the same facts and a different recipe."""
        outer, started = self.facts, datetime.now(UTC)
        known = {name: fact for name, fact in outer.items() if name not in ("error", EARLIER, FILES)} | _begun(started)
        if order(known) <= order(outer):
            known |= clock_facts(started, [order(outer)])
        with _whole(self.path, recipe_yaml, known) as beside:
            move(beside, self.path / name)
        return RunDir(self.path / name)

    def resume(self, kept: Collection[str] = ()) -> None:
        """Marks an ended run as running again, in this process, which writes its files again except those `kept`."""
        facts = self.facts
        files = {name: sha256 for name, sha256 in self.record.get(FILES, {}).items() if name in (RECIPE, *kept)}
        worked = facts.get(EARLIER) if facts.get("seconds") is None else facts["seconds"]
        again = {"status": "running", "ended": None, "seconds": None, "error": None, EARLIER: _number(worked)}
        self.update(**again, **this_process(), **{FILES: files})

    @property
    def status(self) -> Status:
        """The status of the run; "interrupted" if `run.json` says "running" but the process is gone."""
        return status_in(self.facts)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Locks the folder against other processes; `InputError` when another process holds the lock."""
        from filelock import Timeout

        with ExitStack() as held:
            try:
                held.enter_context(locked(self.path / LOCK))
            except Timeout:
                raise in_use(self) from None
            yield

    @property
    def facts(self) -> dict[str, Any]:
        """The content of `run.json`; `InputError` when it is damaged."""
        facts = self.read_json(RUN)
        if missing := KNOWN_FROM_THE_START - facts.keys():
            raise InputError(f"{self.path / RUN} is damaged: it has no {', '.join(sorted(missing))}.", REPEAT)
        if wrong := [name for name in KNOWN_FROM_THE_START if not isinstance(facts[name], str)]:
            raise InputError(f"{self.path / RUN} is damaged: {min(wrong)} is not text.", REPEAT)
        if not are_sums(facts.get(FILES, {})):
            raise InputError(f"{self.path / RUN} is damaged: {FILES} has no checksums.", REPEAT)
        return facts

    @property
    def summary(self) -> dict[str, Any]:
        """The content of `summary.json`; empty if there is none. `InputError` when it is damaged or lost."""
        return self.read_json(SUMMARY) if self.has(SUMMARY) else {}

    def update(self, **facts: Any) -> None:
        """Updates facts in `run.json`."""
        self.write_json(RUN, self.facts | facts)

    def note(self, text: str) -> None:
        """Adds a note to `run.json`, unless it is there already."""
        notes = self.facts["notes"]
        if text not in notes:
            self.update(notes=[*notes, text])

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Records in `run.json` how the block ended: by `finish`, at its last line, with an error or an interrupt."""
        if self._since is None:
            self._since = monotonic()
        try:
            yield
        except (KeyboardInterrupt, Terminated):
            with suppress(OSError, MemoryError):
                self._end("interrupted")
            raise
        except BaseException as error:
            # The disk may be full, the folder gone, the memory short: the first error is the one to report.
            with suppress(OSError, MemoryError):
                self._end("failed", error=str(error) or type(error).__name__)
            raise
        if self.facts["status"] == "running":
            self._end("finished")

    def finish(self, status: Status, summary: Mapping[str, Any]) -> None:
        """Writes the summary and the final status of the run."""
        self.write_json(SUMMARY, summary)
        self._end(status)

    def _end(self, status: Status, **facts: Any) -> None:
        seconds = _number(self.facts.get(EARLIER)) + (0.0 if self._since is None else monotonic() - self._since)
        ended = {"ended": iso(datetime.now(UTC)), "seconds": round(seconds, 3)}
        self.update(status=status, **ended, **facts, **{FILES: self._sums()})

    def keep(self, **facts: Any) -> None:
        """Updates facts in `run.json`, and records the content that the files of the run have by now."""
        self.update(**facts, **{FILES: self._sums()})

    def _sums(self) -> dict[str, str]:
        return sums_in(self.path, self.record.get(FILES, {}))

    @property
    def record(self) -> dict[str, Any]:
        """The content of `run.json`, which has the checksums of the other files; empty if there is none."""
        with suppress(FileNotFoundError):
            return self.facts
        return {}

    def table(self, name: str, columns: Sequence[str], keep: int | None = None) -> Rows:
        """Opens a CSV table in the folder: a new one, or with `keep` an existing one cut to its first `keep` rows."""
        self._will_change(name)
        return Table(self.path / name, columns, keep)

    def write_json(self, name: str, value: Mapping[str, Any]) -> None:
        """Writes a JSON object, completely or not at all."""
        self.write_text(name, with_own(json_ready(value)))

    def write_text(self, name: str, text: str) -> None:
        """Writes a UTF-8 text file, completely or not at all."""
        self._will_change(name, sha256_of(_utf8(text)))
        write_whole(self.path / name, lambda path: path.write_bytes(_utf8(text)))

    def write_with(self, name: str, write: Callable[[Path], object]) -> None:
        """Writes a file by calling `write` with a temporary path, then renames it into place when it is on disk."""
        self._will_change(name)
        write_whole(self.path / name, write)

    def rename(self, name: str, new_name: str) -> None:
        """Gives a file of the folder another name."""
        self._will_change(name)
        self._will_change(new_name)
        move(self.path / name, self.path / new_name)

    def _will_change(self, name: str, sha256: str | None = None) -> None:
        """Records that a file is about to be written again, with this content if it is known.

        A kill may leave the old file or the new one, and neither is damaged.
        """
        if name not in LASTING:
            return
        record, new = self.record, sha256 or ANY
        files = record.get(FILES, {})
        if new in files.get(name, "").split() or (name not in files and not is_complete(record)):
            return
        self.update(**{FILES: files | {name: f"{new} {files.get(name, '')}".rstrip()}})

    def has(self, name: str, facts: Facts | None = None) -> bool:
        """Whether the run has a file `name`; `InputError` if it had one that is lost.

        `facts` is the content of `run.json`, if it is known already.
        """
        path = self.path / name
        return path.is_file() or self._checked(path, lambda: path, sha256_in, facts) is not None

    def intact(self, name: str) -> Path:
        """Returns the path of a file, after a look at all of it; `InputError` if it has changed, or is lost."""
        path = self.path / name
        self._checked(path, lambda: path, sha256_in)
        return path

    def content(self, name: str) -> bytes:
        """Returns the content of a file; `InputError` if it is missing, or has changed since it was recorded."""
        path = self.path / name
        found = self._checked(path, path.read_bytes, sha256_of)
        if found is None:
            raise InputError(f"{path} is missing.", REPEAT)
        return found

    def _checked(
        self, path: Path, read: Callable[[], Found], sha256: Callable[[Found], str], facts: Facts | None = None
    ) -> Found | None:
        """Returns what `read` returns of a file, None if there is none; `InputError` if it is not as it was recorded.

        A run that goes on meanwhile may write both the file and the record of it. Then both are read again.
        """
        record = self.record if facts is None else facts
        while True:
            with naming(path):
                found = read() if path.is_file() else None
            try:
                must_be_as_written(path, None if found is None else partial(sha256, found), record)
            except InputError:
                if (now := self.record) == record:
                    raise
                record = now
            else:
                return found

    def read_table(self, name: str) -> list[dict[str, str]]:
        """Returns the rows of a CSV table as text; `InputError` when the file is missing, damaged, or empty."""
        rows = self._rows(name, self.content(name))
        if not rows:
            raise InputError(f"{self.path / name} is damaged: it is empty.", REPEAT)
        return rows

    def read_growing_table(self, name: str) -> list[dict[str, str]]:
        """Returns the complete rows of a CSV table that may still grow; empty if the file does not exist.

        A run that is read while it writes, or was stopped while writing, may end in the middle of a row. `InputError`
        when the file is not text, or another row is incomplete.
        """
        written = self.content(name) if self.has(name) else b""
        return self._rows(name, written[: written.rfind(b"\n") + 1])

    def last_row(self, name: str) -> dict[str, str] | None:
        """Returns the last complete row of a CSV table of numbers that may still grow; None if it has none.

        Reads the two ends of the file alone, however long it is, unless its content is recorded.
        """
        self.intact(name)
        try:
            with naming(self.path / name), (self.path / name).open("rb") as file:
                header = file.readline()
                file.seek(max(file.tell(), file.seek(0, os.SEEK_END) - LONGEST_ROWS))
                rows = file.read().split(b"\n")[:-1]  # what follows the last line end is half a row
        except FileNotFoundError:
            return None
        found = self._rows(name, header + rows[-1]) if rows else []
        return found[-1] if found else None

    def _rows(self, name: str, written: bytes) -> list[dict[str, str]]:
        try:
            rows = list(csv.DictReader(StringIO(written.decode("utf-8"), newline="")))
        except UnicodeDecodeError:
            raise InputError(f"{self.path / name} is damaged: it is not UTF-8 text.", REPEAT) from None
        if any(None in (*row, *row.values()) for row in rows):
            raise InputError(f"{self.path / name} is damaged: a row is incomplete.", REPEAT)
        if b"\\x" not in written:
            return rows
        return [{from_utf8(column): from_utf8(cell) for column, cell in row.items()} for row in rows]

    def read_json(self, name: str, facts: Facts | None = None) -> dict[str, Any]:
        """Returns the JSON object in the file `name`; `InputError` when it is damaged.

        `facts` is the content of `run.json`, if it is known already.
        """
        path = self.path / name
        with naming(path):
            found = None if name == RUN else self._checked(path, path.read_bytes, sha256_of, facts)
            written = path.read_bytes() if found is None else found
        try:
            value = json.loads(written.decode("utf-8"))
        except (ValueError, RecursionError):
            raise InputError(f"{path} is damaged: it is not JSON.", REPEAT) from None
        if not isinstance(value, dict):
            raise InputError(f"{path} is damaged: it is not a JSON object.", REPEAT)
        if not has_its_own(written):
            raise InputError(f"{path} is damaged: its checksum does not match.", "Put it back from a copy.")
        value.pop(OWN, None)
        if b"\\x" not in written:
            return value
        return {from_utf8(key): all_from_utf8(inner) for key, inner in value.items()}


EARLIER = "earlier_seconds"
"""The fact how many seconds the processes before this one have worked on a run that was resumed."""


def _number(value: object) -> float:
    return float(value) if type(value) in (int, float) else 0.0  # type: ignore[arg-type]


Tell = Callable[[InputError], object]
"""Takes the error of a run that is passed over, because a file of it is damaged."""


def untold(_: InputError) -> None:
    """Tells nobody of a damaged run."""


def readable_runs(
    folder: Path,
    tell: Tell = untold,
    passed_over: tuple[type[OSError], ...] = NO_FILE,
    matters: Callable[[Path], bool] | None = None,
) -> Iterator[tuple[RunDir, dict[str, Any]]]:
    """Yields the runs in a folder, each with the content of its `run.json`; no damaged ones, in no order.

    `tell` takes the error of a damaged one, if there is no `matters` or it says so of the folder.
    """
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name[0] != "." and not entry.is_file(follow_symlinks=False):
                run = RunDir(entry.path)
                try:
                    with suppress(*passed_over):
                        yield run, run.facts
                        continue
                    _must_not_lack_facts(run.path)
                except InputError as error:
                    if matters is None or matters(run.path):
                        tell(error)


def _must_not_lack_facts(folder: Path) -> None:
    """Raises `InputError` if a folder has a recipe and results of a run, but no `run.json`: it was lost.

    A folder that another person keeps to themselves is none of ours.
    """
    names: set[str] = set()
    with suppress(OSError):
        names = {path.name for path in folder.iterdir()}
    if RUN not in names and RECIPE in names and names & {*LASTING} - {RECIPE, NETWORK, IMAGES}:
        fix = "Put it back from a copy, or move the folder elsewhere and repeat the run."
        raise InputError(f"{folder} is damaged: it has no {RUN}.", fix)


def _keys_in(folder: Path) -> Iterator[str]:
    """Yields the keys by which a run and the runs inside it are sorted, as far as they can be read."""
    with suppress(OSError, InputError):
        yield order(RunDir(folder).facts)
        yield from (order(facts) for _, facts in readable_runs(folder, passed_over=(OSError,)))


def status_in(facts: Mapping[str, Any]) -> Status:
    """Returns the status of the run with these facts; "interrupted" if it says "running" but its process is gone."""
    status: Status = facts["status"]
    return "interrupted" if status == "running" and is_process_gone(facts) else status


def in_use(run: RunDir) -> InputError:
    """Returns the error that another process has the folder of a run."""
    return InputError(f"Another process is using {run.path}.", "Wait for it, or give another --name.")


LONGEST_ROWS = 8192
"""The bytes at the end of a table that surely hold a whole row of numbers."""


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", errors="backslashreplace")


def _begun(started: datetime) -> dict[str, Any]:
    return {"status": "running", "started": iso(started), "ended": None, "seconds": None, "notes": []}


@contextmanager
def _whole(parent: Path, recipe_yaml: str, facts: Mapping[str, Any]) -> Iterator[Path]:
    """Yields a hidden folder with the first files of a run, to be renamed: a kill leaves no incomplete run behind."""
    beside = parent / f".new-{uuid4().hex}"
    try:
        beside.mkdir()
    except OSError as error:
        error.filename = str(parent)  # the user knows this folder, not the hidden one
        raise
    try:
        RunDir(beside).write_text(RECIPE, recipe_yaml)
        RunDir(beside).write_json(RUN, {**facts, FILES: {RECIPE: sha256_of(_utf8(recipe_yaml))}})
        yield beside
    finally:
        shutil.rmtree(beside, ignore_errors=True)  # if it was not renamed


def put(folder: Path, path: Path) -> bool:
    """Renames a folder to `path`; False if something exists there already."""
    try:
        move(folder, path)
    except OSError as error:
        if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
            return False
        error.filename = str(path)
        raise
    return True


def _put_under_a_free_name(folder: Path, path: Path) -> RunDir:
    """Renames a folder to `path`, or to `path` with -2, -3, ... if another run started in the same second."""
    paths = (path if attempt == 1 else path.with_name(f"{path.name}-{attempt}") for attempt in count(1))
    return RunDir(next(free for free in paths if put(folder, free)))


def _must_be_a_name(name: str) -> None:
    if not re.fullmatch(NAME, name):
        raise InputError(
            f"'{name}' cannot be the name of a run.",
            "Use letters, digits, '.', '_', '=' and '-'; begin with a letter or a digit.",
        )
