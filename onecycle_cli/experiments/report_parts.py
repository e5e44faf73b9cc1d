"""Parts that every section of a report is made of: formats, tables, the facts of a run. Imports no torch."""

import math
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from onecycle_cli.errors import OnecycleError
from onecycle_cli.experiments.next_commands import command_to_repeat
from onecycle_cli.figures.report.content import (
    Block,
    Cell,
    Code,
    Command,
    Details,
    Pairs,
    Section,
    Table,
    Text,
)
from onecycle_cli.progress import duration
from onecycle_cli.recipe import as_written
from onecycle_cli.run_dir.annotations import read_annotations
from onecycle_cli.run_dir.facts import as_it_was_asked, command_line
from onecycle_cli.run_dir.files import MAIN_RESULTS, RECIPE, TUNED_RECIPE
from onecycle_cli.run_dir.run import RunDir

SCORES = re.compile("loss|accuracy|recall|precision|probability|share")
"""A column with four digits after the point, as the commands print it."""

WHOLE_NUMBER = re.compile(r"-?[0-9]{1,300}")
NUMBER = re.compile(r"-?(?:[0-9]+(?:\.[0-9]+)?(?:e[+-]?[0-9]+)?|inf)|nan")
"""A number as runs write it. Python reads others too, such as 1_000 and infinity, which may be names."""


def shown(name: str, value: Any) -> str:
    """Formats a value of the column `name`, as the commands do: losses and accuracies with four decimals."""
    if value is None:
        return ""
    if isinstance(value, float):
        if not math.isfinite(value):
            return str(value)
        if name.endswith(("second", "seconds", "points_lost", "points_lost_90")):
            return f"{value:,.1f}"
        return f"{value:.4f}" if SCORES.search(name) and abs(value) < 1000 else f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)
    return str(value)


def cell(name: str, value: Any, link: str | None = None) -> Cell:
    """Returns the cell of a table with a value of the column `name`."""
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    return Cell(shown(name, value), number if number is not None and math.isfinite(number) else None, link)


def setting(value: Any) -> Cell:
    """Returns the cell of a recipe's value, as a person writes it."""
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    return Cell(as_written(value), number if number is not None and math.isfinite(number) else None)


def csv_value(text: str) -> Any:
    """Returns a cell of a CSV table as a number where it is one, None where it is empty, else as text."""
    if text == "":
        return None
    if WHOLE_NUMBER.fullmatch(text):
        return int(text)
    return float(text) if NUMBER.fullmatch(text) else text


def csv_table(
    run: RunDir,
    name: str,
    *,
    identity: str,
    caption: str,
    text: Sequence[str] = (),
    settings: Sequence[str] = (),
    first: Sequence[str] = (),
) -> Table:
    """Returns a CSV table of a run, without its empty columns.

    Columns in `text` hold text, even if it looks like numbers, as class names may; those in `settings` hold values of a
    recipe. Those in `first` come before the others.
    """
    rows = run.read_growing_table(name)
    columns = sorted(rows[0], key=lambda column: column not in first) if rows else []
    kept = [column for column in columns if any(row[column] for row in rows)]
    values = {c: [row[c] for row in rows] if c in text else csv_column([row[c] for row in rows]) for c in kept}
    lines = [
        [setting(values[column][i]) if column in settings else cell(column, values[column][i]) for column in kept]
        for i in range(len(rows))
    ]
    return Table(identity, caption, kept, lines)


def csv_column(texts: Sequence[str]) -> list[Any]:
    """Returns a column of a CSV table as values. A whole number among fractions, such as a recall of 1, is one too."""
    values = [csv_value(text) for text in texts]
    if any(isinstance(value, float) and math.isfinite(value) for value in values):
        return [float(value) if isinstance(value, int) else value for value in values]
    return values


def guarded(what: str, make: Callable[[], Sequence[Block]]) -> list[Block]:
    """Returns the blocks that `make` returns. If a file is damaged or missing, a sentence takes their place."""
    try:
        return list(make())
    except Exception as error:  # one damaged file must not cost the page
        return [Text(f"{what} could not be read: {reason_of(error)}", "note")]


def reason_of(error: Exception) -> str:
    """Returns why something could not be read, as a sentence for a person who does not know Python."""
    match error:
        case OnecycleError():
            return error.what
        case FileNotFoundError() if error.filename:
            return f"{error.filename} is missing."
        case OSError() if error.filename and error.strerror:
            return f"{error.filename}: {error.strerror}."
        case KeyError():
            return f"it has no {error}."
        case TypeError() | ValueError() | AttributeError() | IndexError():
            return f"a value is not of the right kind ({error})."
    return str(error) or type(error).__name__


def part(identity: str, title: str, make: Callable[[], Sequence[Block]]) -> Section | None:
    """Returns a section; None if there is nothing to show in it."""
    blocks = guarded(title, make)
    return Section(identity, title, blocks) if blocks else None


def identity(text: str) -> str:
    """Returns text as the id of an element: letters, digits and hyphens."""
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower() or "run"


def main_result(run: RunDir) -> str:
    """Returns the most telling number of a run with its name, as `onecycle runs` lists it; empty if there is none."""
    name, form = MAIN_RESULTS.get(str(run.facts["command"]), ("", ""))
    value = run.summary.get(name)
    return "" if value is None else f"{name} {value:{form}}"


def machine(run: RunDir) -> list[Block]:
    """Returns where and with what a run was made."""
    facts = run.facts
    versions = facts.get("versions") or {}
    names = {
        "host": facts.get("host"),
        "system": facts.get("platform"),
        "device": _joined(facts.get("device"), facts.get("device_name")),
        "precision": facts.get("precision"),
        "threads": facts.get("threads"),
        "processes": facts.get("ranks"),
        "seed": facts.get("seed"),
        "git commit": facts.get("git_commit"),
        "versions": ", ".join(f"{name} {version}" for name, version in versions.items() if version),
    }
    return [Pairs([(name, str(value)) for name, value in names.items() if value not in (None, "")], wide=True)]


def _joined(*parts: Any) -> str:
    return ", ".join(str(one) for one in parts if one)


def recipe_text(run: RunDir) -> list[Block]:
    """Returns the recipe of a run, hidden until it is opened."""
    text = run.content(RECIPE).decode("utf-8", errors="replace")
    return [Details("The recipe with all overrides", [Code(text)])]


def commands(run: RunDir) -> list[Command]:
    """Returns the commands that repeat a run, as it was started and from its saved recipe, or use a tuned recipe.

    None has the name of a run that exists, with which it would fail.
    """
    facts = run.facts
    again = command_to_repeat(run, facts)
    found = []
    if asked := as_it_was_asked(facts):
        line, was_named = _without_name(asked)
        told = "Once more, from the recipe as it was given" if again else "Once more, as it was started"
        choose = ". `--name` is left out, because a run has this name already: give another one."
        found.append(Command(told + (choose if was_named else "."), line))
    if again:
        told = "Once more, from the copy of the recipe in the run's folder, which has all overrides in it."
        found.append(Command(told, again))
    if (run.path / TUNED_RECIPE).is_file():
        found.append(
            Command("A training with the tuned recipe.", command_line(["train", str(run.path / TUNED_RECIPE)]))
        )
    return found


def _without_name(line: str) -> tuple[str, bool]:
    """Returns a command line without the option `--name`, and whether it had one."""
    words = shlex.split(line)
    kept = [
        word
        for before, word in zip(["", *words], words, strict=False)
        if "--name" not in (before, word) and not word.startswith("--name=")
    ]
    return (line, False) if kept == words else (shlex.join(kept), True)


def notes(run: RunDir) -> list[Block]:
    """Returns the error of a run and its notes, then the labels and notes that people gave it."""
    facts = run.facts
    told: list[Block] = [Text(str(note), "note") for note in facts.get("notes") or []]
    errors = [Text(f"Error: {facts['error']}", "note")] if facts.get("error") else []
    return [*errors, *told, *guarded("What people wrote about the run", lambda: _annotations(run))]


def _annotations(run: RunDir) -> list[Block]:
    written = read_annotations(run)
    labels = [Text(f"Labels: {', '.join(written.labels)}", "note")] if written.labels else []
    return [*labels, *(Text(f"{note.written[:10]}: {note.text}", "note") for note in written.notes)]


def times(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Returns when a run started and how long it took."""
    started = str(facts["started"]).replace("T", " ")[:19] + " UTC"
    pairs = [("started", started)]
    if facts.get("seconds") is not None:
        pairs.append(("took", duration(facts["seconds"])))
    return pairs


def label_of(run: RunDir, runs_dir: Path) -> str:
    """Returns the path of a run as a person names it: below the runs folder, or the whole path."""
    try:
        return str(run.path.resolve().relative_to(runs_dir.resolve()))
    except ValueError:
        return str(run.path)
