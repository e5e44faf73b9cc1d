"""Everything about a saved run: what was asked, how it went, what came out, which files it left, and what to do next.

Runs that are unfinished, damaged or of older versions have a page too. Imports no torch.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from onecycle_cli.analysis.diagnosis import Statement, diagnose
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.diagnose import read_training
from onecycle_cli.experiments.next_commands import OPEN, amounts_to, next_commands
from onecycle_cli.experiments.run_progress import RunProgress, progress_of
from onecycle_cli.recipe import Difference, dotted_values, shipped_names, shipped_path
from onecycle_cli.run_dir.annotations import Annotations, read_annotations
from onecycle_cli.run_dir.files import (
    BATCH_SIZE,
    PER_CLASS,
    RANKING,
    RECIPE,
    REPRODUCTION,
    SUGGESTION,
    SWEEP,
)
from onecycle_cli.run_dir.finding import runs_in
from onecycle_cli.run_dir.run import RunDir

MAIN_TABLES = (REPRODUCTION, RANKING, SWEEP, BATCH_SIZE, PER_CLASS)
"""The tables that say most about a run, the first that it has; a curve is drawn instead of its table."""

AS_IT_IS = ("name", "description")
"""The fields of a recipe that say nothing about a run."""


@dataclass(frozen=True)
class File:
    """A file of a run, with its size in bytes. A folder has the sum of what is in it, and ends in a slash."""

    name: str
    bytes: int


@dataclass(frozen=True)
class RunPage:
    """Everything about a run. What a run does not have is None or empty.

    `does` is the command that the run amounts to: a cell of a sweep is a training or a range test. `changed` are the
    fields that differ from the shipped recipe of the same name (there). `diagnosis` is the most important statement
    about the curves, `table` the name of the main table, None if it is damaged. `next` are commands that can follow, by
    what they do. `damage` says which files cannot be read, and `annotations` are the labels and notes of people.
    """

    run: Path
    does: str | None = None
    status: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    summary: Mapping[str, Any] = field(default_factory=dict)
    suggestion: Mapping[str, Any] | None = None
    changed: list[Difference] = field(default_factory=list)
    progress: RunProgress | None = None
    diagnosis: str | None = None
    cells: dict[str, str] = field(default_factory=dict)
    table: str | None = None
    files: list[File] = field(default_factory=list)
    next: dict[str, str] = field(default_factory=dict)
    damage: list[str] = field(default_factory=list)
    annotations: Annotations = field(default_factory=Annotations)


def read_page(run: RunDir) -> RunPage:
    """Reads everything about a run. A file that is damaged costs what is in it, and is told in `damage`."""
    try:
        facts = run.facts
    except InputError as error:
        return RunPage(run.path, status="damaged", files=_files(run), damage=[error.what])
    return _page(run, facts)


def _page(run: RunDir, facts: Mapping[str, Any]) -> RunPage:
    damage: list[str] = []
    status, does = run.status, amounts_to(run, facts)
    summary: dict[str, Any] = {}
    suggestion, progress, changed, annotations = None, None, [], Annotations()
    with _told(damage):
        summary = run.summary
    with _told(damage):
        suggestion = run.read_json(SUGGESTION) if run.has(SUGGESTION) else None
    with _told(damage):
        changed = _changed(run, facts["recipe"])
    with _told(damage):
        annotations = read_annotations(run)
    if status in OPEN:
        with _told(damage):
            progress = progress_of(run)
    table = next((name for name in MAIN_TABLES if (run.path / name).is_file()), None)
    if table is not None and not _can_read(run, table, damage):
        table = None
    return RunPage(
        run.path,
        does,
        status,
        facts,
        summary,
        suggestion,
        changed,
        progress,
        _diagnosis(run, does, status, summary),
        _cells(run),
        table,
        _files(run),
        next_commands(run, facts, does, status, summary),
        list(dict.fromkeys(damage)),
        annotations,
    )


@contextmanager
def _told(damage: list[str]) -> Iterator[None]:
    """Adds the message of an `InputError` or of a missing file inside the block to `damage`, in place of raising it."""
    try:
        yield
    except InputError as error:
        damage.append(error.what)
    except FileNotFoundError as error:
        damage.append(f"{error.filename} is missing.")


def _can_read(run: RunDir, table: str, damage: list[str]) -> bool:
    """Whether a table can be read. If not, `damage` gets the reason."""
    before = len(damage)
    with _told(damage):
        run.read_growing_table(table)
    return len(damage) == before


def _changed(run: RunDir, name: str) -> list[Difference]:
    """Returns the fields that differ from the shipped recipe of this name; none if there is no such recipe."""
    if name not in shipped_names():
        return []
    there, here = dotted_values(shipped_path(name)), dotted_values(run.intact(RECIPE))
    fields = dict.fromkeys([*there, *here])
    return [
        Difference(field, there.get(field), here.get(field))
        for field in fields
        if field not in AS_IT_IS and there.get(field) != here.get(field)
    ]


def _diagnosis(run: RunDir, does: str, status: str, summary: Mapping[str, Any]) -> str | None:
    """Returns the most important statement about a training, as one line. It is read again if the run is not over."""
    found = summary.get("diagnosis")
    if isinstance(found, dict):
        with suppress(KeyError, TypeError):  # of another version
            return Statement.of(found).line
    if does == "train" and status in OPEN:
        with suppress(InputError, KeyError, IndexError):
            statements = diagnose(read_training(run))
            return statements[0].line if statements else None
    return None


def _cells(run: RunDir) -> dict[str, str]:
    """Returns the status of each cell by its name."""
    found = {}
    for cell in runs_in(run):
        if cell.path != run.path:
            try:
                found[cell.path.name] = str(cell.status)
            except InputError:
                found[cell.path.name] = "damaged"
    return found


def _files(run: RunDir) -> list[File]:
    """Returns the files and the folders of a run, without hidden ones."""
    found = []
    for path in sorted(run.path.iterdir()):
        if path.name[0] == ".":
            continue
        with suppress(FileNotFoundError):  # a run in progress replaces its files
            if path.is_dir():
                inside = sum(one.stat().st_size for one in path.rglob("*") if one.is_file())
                found.append(File(f"{path.name}/", inside))
            else:
                found.append(File(path.name, path.stat().st_size))
    return found
