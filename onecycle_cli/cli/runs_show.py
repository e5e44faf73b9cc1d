"""`runs show`: one screen of everything about a run."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import typer

from onecycle_cli.cli.options import RUNS_DIR, JsonOption, NoPlotOption, RunArgument, RunsDirOption

if TYPE_CHECKING:
    from onecycle_cli.experiments.run_page import RunPage
    from onecycle_cli.experiments.run_progress import RunProgress

Pair = tuple[str, str]

MOST_TABLE_ROWS = 10
"""The most rows of the main table that are shown."""

MOST_CHANGED, MOST_FILES = 8, 4
"""The most changed fields or unfinished cells, and the most files, that are named."""

FILES_OF_EVERY_RUN = ("recipe.yaml", "run.json")


def add_to(app: typer.Typer) -> None:
    """Adds the command to the group `runs`."""
    app.command(epilog="Example: onecycle runs show 20261122-101010-train-digits")(show)


def show(
    run: RunArgument,
    no_plot: NoPlotOption = False,
    runs_dir: RunsDirOption = RUNS_DIR,
    as_json: JsonOption = False,
) -> None:
    """Show everything about one run: command, settings, status, results, diagnosis, files, and what to do next.

    On a terminal, the curve stands above. A run in a sweep is named as SWEEP/CELL. --json prints all of it, with the
    whole run.json, summary.json and suggestion.json.
    """
    from onecycle_cli.cli.console import show_json, show_pairs
    from onecycle_cli.cli.results import show_curve
    from onecycle_cli.experiments.run_page import read_page
    from onecycle_cli.run_dir.finding import find_run

    found = find_run(runs_dir, run)
    page = read_page(found)
    if as_json:
        show_json(page)
        return
    pairs = list(_pairs(page))
    if not no_plot:
        show_curve(found, above=pairs)
    show_pairs(pairs)
    if page.table is not None:
        _show_table(found.read_growing_table(page.table), page.table)


def _pairs(page: "RunPage") -> Iterator[Pair]:
    for section in (_asked, _state, _results, _remarks, _circumstances):
        try:
            yield from section(page)
        except (AttributeError, KeyError, TypeError, ValueError) as error:  # a value of another type than ours
            yield "damaged", f"A file of {page.run} is damaged: {error!r}."
    yield from page.next.items()


def _asked(page: "RunPage") -> Iterator[Pair]:
    from onecycle_cli.run_dir.facts import as_it_was_asked

    yield "run", str(page.run)
    if page.facts:
        yield "command", as_it_was_asked(page.facts) or str(page.facts["command"])
        yield "recipe", _recipe(page)
    if page.annotations.labels:
        yield "labels", ", ".join(page.annotations.labels)


def _state(page: "RunPage") -> Iterator[Pair]:
    yield "status", _status(page)
    if page.progress is not None and (told := told_progress(page.progress)):
        yield "progress", told
    for damaged in page.damage:
        yield "damaged", damaged
    if page.facts.get("error"):
        yield "error", str(page.facts["error"])


def _remarks(page: "RunPage") -> Iterator[Pair]:
    if page.diagnosis:
        yield "diagnosis", page.diagnosis
    # Those of the run itself, and then those that people have added.
    notes = [str(note) for note in page.facts.get("notes") or ()]
    notes += [f"{_time(note.written)}: {note.text}" for note in page.annotations.notes]
    for number, note in enumerate(notes):
        yield "" if number else "notes", note


def _circumstances(page: "RunPage") -> Iterator[Pair]:
    yield from _cells(page.cells)
    if page.facts.get("images"):
        yield "images", _images(page.facts)
    if page.facts:
        yield "machine", _machine(page.facts)
        yield "versions", _versions(page.facts)
    if page.files:
        yield "files", _files(page)


def _recipe(page: "RunPage") -> str:
    from onecycle_cli.recipe import as_written

    name = str(page.facts["recipe"])
    changed = [f"{one.field} {as_written(one.here)} (shipped {as_written(one.there)})" for one in page.changed]
    if len(changed) > MOST_CHANGED:
        changed = [*changed[: MOST_CHANGED - 1], f"and {len(changed) - MOST_CHANGED + 1} more: --json has them"]
    return ", ".join([name, *changed])


def _status(page: "RunPage") -> str:
    from onecycle_cli.progress import duration

    facts, told = page.facts, str(page.status)
    if facts.get("seconds") is not None:
        told += f" after {duration(float(facts['seconds']))}"
    if facts.get("started"):
        told += f", {_times(str(facts['started']), facts.get('ended'))}"
    if page.status == "running":
        told += f", process {facts.get('pid')} on {facts.get('host')}"
    return told


def _times(started: str, ended: str | None) -> str:
    start = _time(started)
    if ended is None:
        return f"started {start}"
    same_day = start[:10] == _time(ended)[:10]
    return f"{start} to {_time(ended)[11 if same_day else 0 :]}"


def _time(iso: str) -> str:
    """Formats a time of a run, which is in UTC, as local time."""
    try:
        return f"{datetime.fromisoformat(iso).astimezone():%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return iso


def told_progress(progress: "RunProgress") -> str:
    """Returns how far a run has come, in words; empty if it has not begun."""
    parts = []
    if progress.done is not None:
        whole = "" if progress.total is None else f" of {progress.total:,}"
        name = "cells ended" if progress.work == "cells" else f"{progress.work} steps"
        parts.append(f"{progress.done:,}{whole} {name}")
    if progress.epoch is not None:
        parts.append(f"epoch {progress.epoch}" + ("" if progress.epochs is None else f" of {progress.epochs}"))
    for name, form in (("loss", ".4g"), ("lr", ".3g"), ("valid_accuracy", ".4f")):
        if (value := getattr(progress, name)) is not None:
            parts.append(f"{name} {value:{form}}")
    return ", ".join(parts)


def _results(page: "RunPage") -> Iterator[Pair]:
    """Yields the results of a run, whatever its command: those that its summary has."""
    from onecycle_cli.experiments.next_commands import best_run
    from onecycle_cli.recipe import as_written
    from onecycle_cli.run_dir.run import RunDir

    summary = page.summary
    if page.does == "find-lr" or (page.suggestion and "max_lr" not in summary):
        yield from _suggestion(page.suggestion or {})
        return
    for name in ("weight_decay", "batch_size") if page.does in ("sweep-wd", "find-batch-size") else ():
        if summary.get(name) is not None:
            yield name, as_written(summary[name])
    for decision in summary.get("decisions") or ():
        yield str(decision["stage"]), f"{_values(decision['was'])} -> {_values(decision['chosen'])}"
    if summary.get("max_lr") is not None:
        yield "max_lr", _max_lr(page)
    yield from _training(summary)
    if summary.get("verdict"):
        yield "verdict", str(summary["verdict"])
    if (best := best_run(RunDir(page.run), summary)) is not None:
        yield "best run", str(best)
    if summary.get("reason"):
        yield "why", str(summary["reason"])


def _training(summary: Mapping[str, Any]) -> Iterator[Pair]:
    """Yields the scores of a training or an evaluation."""
    if summary.get("diverged_step") is not None:
        yield "diverged", f"at step {summary['diverged_step']}, lr {_number(summary.get('diverged_lr'), '.3g')}"
    for split in ("train_", "valid_", "test_", ""):
        if (accuracy := summary.get(f"{split}accuracy")) is not None:
            yield f"{split}accuracy", _scores(summary, split, accuracy)
    if summary.get("scored"):
        yield "scored", f"{summary['images']:,} images, {summary['scored']}"


def _scores(summary: Mapping[str, Any], split: str, accuracy: float) -> str:
    """Formats the scores on a split. A balanced accuracy that is the same says nothing."""
    told = f"{accuracy:.4f}  (loss {_number(summary.get(f'{split}loss'), '.4f')})"
    for name in ("balanced_accuracy", "top5_accuracy"):
        value = summary.get(f"{split}{name}")
        if value is not None and f"{value:.4f}" != f"{accuracy:.4f}":
            told += f", {name.removesuffix('_accuracy')} {value:.4f}"
    if split == "valid_" and summary.get("best_epoch") is not None:
        told += f", best {_number(summary.get('best_valid_accuracy'), '.4f')} in epoch {summary['best_epoch']}"
    return told


def _max_lr(page: "RunPage") -> str:
    """Formats the max_lr of a run, and how sure it is if a range test of this run suggested it."""
    summary = page.summary
    found = page.suggestion or (summary if summary.get("confidence") else None)
    told = f"{summary['max_lr']:g}"
    if found and found.get("max_lr") == summary["max_lr"] and found.get("confidence"):
        told += f", suggested with {found['confidence']} confidence"
    return told


def _suggestion(suggestion: Mapping[str, Any]) -> Iterator[Pair]:
    """Yields a suggestion, its band and its confidence; the reason alone if it has no max_lr."""
    from onecycle_cli.analysis.lr_range import ErrorBar
    from onecycle_cli.cli.suggest import error_bar_pairs

    if suggestion.get("max_lr") is not None:
        conservative = _number(suggestion.get("conservative_max_lr"), "g")
        confidence = suggestion.get("confidence")
        yield "max_lr", f"{suggestion['max_lr']:g}, confidence {confidence} (conservative_max_lr {conservative})"
        yield from error_bar_pairs(ErrorBar.of(suggestion))
    elif suggestion:
        yield "max_lr", "none"
    if suggestion.get("reason"):
        yield "why", str(suggestion["reason"])


def _values(values: Any) -> str:
    from onecycle_cli.recipe import as_written

    return ", ".join(f"{name.split('.')[-1]} {as_written(value)}" for name, value in (values or {}).items()) or "-"


def _number(value: Any, form: str) -> str:
    return "not finite" if value is None else f"{value:{form}}"


def _cells(cells: Mapping[str, str]) -> Iterator[Pair]:
    """Counts the cells by their status, and names those that are not finished."""
    if not cells:
        return
    counts = {status: sum(one == status for one in cells.values()) for status in dict.fromkeys(cells.values())}
    yield "cells", f"{len(cells)}: " + ", ".join(f"{count} {status}" for status, count in counts.items())
    others = [f"{status}: {name}" for name, status in cells.items() if status != "finished"]
    yield from (("", other) for other in others[:MOST_CHANGED])


def _images(facts: Mapping[str, Any]) -> str:
    counts = [f"{count:,} {split}" for split, count in facts["images"].items() if count is not None]
    classes = facts.get("classes")
    return ", ".join(counts) + (f", {len(classes)} classes" if classes else "")


def _machine(facts: Mapping[str, Any]) -> str:
    told = [str(facts[name]) for name in ("device_name", "device", "precision") if facts.get(name)]
    for name, label in (("threads", "thread"), ("ranks", "rank")):
        if count := facts.get(name):
            told.append(f"{count} {label}{'' if count == 1 else 's'}")
    told += [f"seed {facts['seed']}"] if facts.get("seed") is not None else []
    return ", ".join([*told, *([f"host {facts['host']}"] if facts.get("host") else [])])


def _versions(facts: Mapping[str, Any]) -> str:
    versions = facts.get("versions") or {}
    told = [f"{name} {versions[key]}" for name, key in _SHOWN_VERSIONS.items() if versions.get(key)]
    commit = facts.get("git_commit")
    if commit:
        sha, plus, changes = str(commit).partition("+")
        told.append(f"commit {sha[:10]}{plus}{changes}")
    return ", ".join(told)


_SHOWN_VERSIONS = {"onecycle": "onecycle-cli", "torch": "torch", "Python": "python"}


def _files(page: "RunPage") -> str:
    """Names the files by size, the largest first, and their sum."""
    own = sorted((file for file in page.files if file.name not in FILES_OF_EVERY_RUN), key=lambda file: -file.bytes)
    others = [file for file in own if file.name.rstrip("/") not in page.cells]
    named = [f"{file.name} {size(file.bytes)}" for file in others[:MOST_FILES]]
    named += [f"{len(others) - MOST_FILES} more"] if len(others) > MOST_FILES else []
    cells = [file.bytes for file in own if file.name.rstrip("/") in page.cells]
    if cells:
        named.insert(0, f"cells {size(sum(cells))}")
    total = sum(file.bytes for file in page.files)
    return f"{size(total)}: {', '.join(named)}" if named else size(total)


def size(count: int) -> str:
    """Formats a number of bytes for a person: 812 B, 14 kB, 1.2 MB."""
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 999.5 or unit == "GB":
            return f"{value:.1f} {unit}" if value < 9.95 and unit != "B" else f"{value:.0f} {unit}"
        value /= 1000
    raise AssertionError


def _show_table(rows: Sequence[Mapping[str, str]], name: str) -> None:
    from onecycle_cli.cli.console import show_note, show_wide_table
    from onecycle_cli.run_dir.files import ERROR_BAR

    shown = [column for column in (rows[0] if rows else ()) if column not in ("error", *ERROR_BAR)]
    shown = [column for column in shown if any(row[column] for row in rows)]
    if not shown:
        return
    print()
    show_wide_table(shown, [[_short(row[column]) for column in shown] for row in rows[:MOST_TABLE_ROWS]])
    if len(rows) > MOST_TABLE_ROWS:
        show_note(f"{len(rows) - MOST_TABLE_ROWS} more rows are in {name}.")


def _short(cell: str) -> str:
    """Formats a number with a fraction in four digits, at least; other cells stay as they are."""
    try:
        number = float(cell)
        return cell if number.is_integer() else f"{number:{'.0f' if abs(number) >= 1000 else '.4g'}}"
    except ValueError:
        return cell
