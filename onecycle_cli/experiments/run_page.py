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
from onecycle_cli.experiments.own_code import NETWORK_SHA256
from onecycle_cli.experiments.run_progress import RunProgress, progress_of
from onecycle_cli.recipe import Difference, dotted_values, lacks_max_lr, load, shipped_names, shipped_path
from onecycle_cli.recipe.grid import folder_name
from onecycle_cli.run_dir.annotations import Annotations, read_annotations
from onecycle_cli.run_dir.facts import command_line, words_of
from onecycle_cli.run_dir.files import (
    BATCH_SIZE,
    CHECKPOINT,
    LR_RANGE,
    MODEL,
    PER_CLASS,
    RANKING,
    RECIPE,
    REPRODUCTION,
    RUN,
    STEPS,
    SUGGESTION,
    SWEEP,
    TUNED_RECIPE,
)
from onecycle_cli.run_dir.finding import runs_in
from onecycle_cli.run_dir.run import RunDir

OPEN = ("running", "interrupted", "failed")
"""The statuses of runs that have not come to their end."""

MAIN_TABLES = (REPRODUCTION, RANKING, SWEEP, BATCH_SIZE, PER_CLASS)
"""The tables that say most about a run, the first that it has; a curve is drawn instead of its table."""

WITHOUT_CELLS = ("train", "find-lr", "find-batch-size", "evaluate")
"""The commands that have no other runs inside. The same command goes on with any other, if it is given again."""

REPEATABLE = ("train", "find-lr", "find-batch-size")
"""The commands that their recipe repeats."""

WEIGHT_DECAY = "optimizer.weight_decay"

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
    status, does = run.status, _does(run, facts)
    summary: dict[str, Any] = {}
    suggestion, progress, changed, annotations = None, None, [], Annotations()
    with _told(damage):
        summary = run.summary
    with _told(damage):
        suggestion = run.read_json(SUGGESTION) if (run.path / SUGGESTION).is_file() else None
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
        _next(run, facts, does, status, summary),
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


def _is_cell(facts: Mapping[str, Any]) -> bool:
    """Whether a run is one inside a sweep or a tuning, by its `run.json`."""
    return "cell" in facts


def _does(run: RunDir, facts: Mapping[str, Any]) -> str:
    """Returns the command that a run amounts to."""
    if _is_cell(facts):
        return "train" if (run.path / STEPS).is_file() or not (run.path / LR_RANGE).is_file() else "find-lr"
    return str(facts["command"])


def _changed(run: RunDir, name: str) -> list[Difference]:
    """Returns the fields that differ from the shipped recipe of this name; none if there is no such recipe."""
    if name not in shipped_names():
        return []
    there, here = dotted_values(shipped_path(name)), dotted_values(run.path / RECIPE)
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


def _next(run: RunDir, facts: Mapping[str, Any], does: str, status: str, summary: Mapping[str, Any]) -> dict[str, str]:
    """Returns the commands that can follow: how to resume, repeat or use the run."""
    if status == "running":
        return {"watch": command_line(["runs", "watch"])}
    if _is_cell(facts):
        return _after_cell(run, does, status)
    path, recipe, trust = str(run.path), str(run.path / RECIPE), _trust(facts)
    if does not in WITHOUT_CELLS:
        return _after_cells(run, does, status, str(facts.get("command_line") or ""), trust, summary)
    repeating = command_to_repeat(run, facts)
    again = {} if repeating is None else {"repeat": repeating}
    match does, status:
        case "train", "interrupted" | "failed" if any(run.path.glob(CHECKPOINT.format(step="*"))):
            return {"resume": command_line(["train", "--resume", path, *trust])}
        case "train", "diverged" | "collapsed":
            return {"explain": command_line(["diagnose", path])}  # a repetition would end in the same way
        case "train", "finished":
            return {"use": command_line(["evaluate", path, *trust])} | again
        case "find-lr", "finished" if summary.get("max_lr") is not None:
            return {"use": command_line(["train", recipe, "--max-lr-from", path, *trust])} | again
    return again


def command_to_repeat(run: RunDir, facts: Mapping[str, Any]) -> str | None:
    """Returns the command that does the same as a run with these facts, from its recipe; None if there is none.

    It has the options that are in no recipe. For a cell of a sweep, it is that of its training or range test alone.
    """
    does = _does(run, facts)
    if does not in REPEATABLE or not (run.path / RECIPE).is_file():
        return None
    of_tune = facts["command"] == "tune"  # its --budget is a time
    options = _range_test_options(facts) if does == "find-lr" and not of_tune else []
    if does == "train" and _has_no_max_lr_yet(run, facts):
        options = ["--max-lr", "auto"]
    return command_line([does, str(run.path / RECIPE), *options, *_trust(facts)])


def best_run(run: RunDir, summary: Mapping[str, Any]) -> Path | None:
    """Returns the folder of the best run of a sweep: where it is now, if the sweep was moved since; None without one.

    The summary has its path when the sweep ended.
    """
    if not isinstance(named := summary.get("best_run"), str) or not named:
        return None
    inner = run.path / Path(named).name
    return inner if (inner / RUN).is_file() else Path(named)


def _trust(facts: Mapping[str, Any]) -> list[str]:
    return ["--trust-code"] if NETWORK_SHA256 in facts else []


def _has_no_max_lr_yet(run: RunDir, facts: Mapping[str, Any]) -> bool:
    """Whether the recipe of a training waits for the max_lr of its own range test."""
    if facts.get("auto") is True and not (run.path / STEPS).is_file():
        return True  # a max_lr in the recipe is the one that would have been replaced
    with suppress(InputError, OSError):
        return lacks_max_lr(load(run.path / RECIPE))
    return False


def _after_cells(
    run: RunDir, does: str, status: str, asked: str, trust: list[str], summary: Mapping[str, Any]
) -> dict[str, str]:
    if status in OPEN:
        return {"resume": asked} if asked else {}
    if does == "tune":
        return {"use": command_line(["train", str(run.path / TUNED_RECIPE), *trust])}
    use: dict[str, str] = {}
    if does == "sweep-wd" and summary.get("weight_decay") is not None:
        inner = run.path / folder_name({WEIGHT_DECAY: summary["weight_decay"]})
        use = {"use": command_line(["train", str(inner / RECIPE), "--max-lr-from", str(inner), *trust])}
    elif (best := best_run(run, summary)) is not None:
        use = {"use": command_line(["train", str(best / RECIPE), *trust])}
    return use | {"compare": command_line(["compare", str(run.path)])}


def _range_test_options(facts: Mapping[str, Any]) -> list[str]:
    """Returns the options of `find-lr` in the command line of a run that change its result and are in no recipe."""
    found: list[str] = []
    words = words_of(facts)
    for word, following in zip(words, [*words, ""][1:], strict=True):
        if word == "--verify" or word.startswith(("--repeats=", "--budget=")):
            found.append(word)
        elif word in ("--repeats", "--budget"):
            found += [word, following]
    return found


def _after_cell(run: RunDir, does: str, status: str) -> dict[str, str]:
    path = str(run.path)
    if status in OPEN:  # the sweep's command goes on with its cells
        with suppress(InputError, FileNotFoundError):
            if asked := RunDir(run.path.parent).facts.get("command_line"):
                return {"resume": str(asked)}
    if does == "find-lr":
        return {"use": command_line(["train", str(run.path / RECIPE), "--max-lr-from", path])}
    return {"use": command_line(["evaluate", path])} if (run.path / MODEL).is_file() else {}
