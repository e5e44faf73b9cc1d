"""What a person writes about a run: labels and notes, in a file of their own.

`run.json` is written again and again by a run in progress, which would lose what another process adds to it.
"""

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from onecycle_cli.errors import InputError
from onecycle_cli.run_dir.files import ANNOTATIONS, LOCK
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.writing import json_ready, locked

LONGEST_LABEL = 60
"""The most characters of a label: it stands in a table."""

LOCK_SECONDS = 20
"""How long an annotation waits for another one to be written."""


@dataclass(frozen=True)
class Note:
    """A note of a person about a run, and when it was written (UTC, ISO 8601)."""

    written: str
    text: str


@dataclass(frozen=True)
class Annotations:
    """The labels of a run, in the order in which they were given, and its notes, the oldest first."""

    labels: tuple[str, ...] = ()
    notes: tuple[Note, ...] = ()


def read_annotations(run: RunDir) -> Annotations:
    """Returns the labels and notes of a run; none if there is no such file. `InputError` when it is damaged."""
    path = run.path / ANNOTATIONS
    damaged = InputError(
        f"{path} is damaged: it is not a list of labels and notes.",
        "Edit it so that it is JSON again, or rename it. Nothing is written to it until then.",
    )
    try:
        found = run.read_json(ANNOTATIONS)
        labels, notes = tuple(found["labels"]), tuple(Note(**note) for note in found["notes"])
    except FileNotFoundError:
        return Annotations()
    except (InputError, KeyError, TypeError):
        raise damaged from None
    if not all(isinstance(text, str) for text in (*labels, *(text for note in notes for text in vars(note).values()))):
        raise damaged
    return Annotations(labels, notes)


def add_labels(run: RunDir, labels: Sequence[str]) -> Annotations:
    """Adds labels to a run, without those that it has already. `InputError` for text that cannot be a label."""
    new = [checked_label(label) for label in labels]
    with _changing(run) as known:
        return _write(run, replace(known, labels=tuple(dict.fromkeys((*known.labels, *new)))))


def remove_labels(run: RunDir, labels: Sequence[str]) -> Annotations:
    """Removes labels from a run; `InputError`, and no change, if it lacks one of them."""
    gone = {unicodedata.normalize("NFC", label) for label in labels}
    with _changing(run) as known:
        if lacking := sorted(gone - {*known.labels}):
            has = f"It has {', '.join(known.labels)}." if known.labels else "It has no labels."
            raise InputError(f"{run.path} has no label '{lacking[0]}'.", has)
        return _write(run, replace(known, labels=tuple(label for label in known.labels if label not in gone)))


def add_note(run: RunDir, text: str) -> Annotations:
    """Adds a note to a run, with the time. Earlier notes stay. `InputError` for a note without text."""
    if not text.strip():
        raise InputError("The note is empty.", "Give its text: onecycle runs note RUN TEXT.")
    with _changing(run) as known:
        note = Note(datetime.now(UTC).isoformat(timespec="seconds"), text.strip())
        return _write(run, replace(known, notes=(*known.notes, note)))


def checked_label(text: str) -> str:
    """Returns the label in its one Unicode form (NFC); `InputError` for text that cannot be a label."""
    label = unicodedata.normalize("NFC", text)
    if re.fullmatch(r"[^\s,](?:[^,]*[^\s,])?", label) and label.isprintable() and len(label) <= LONGEST_LABEL:
        return label
    raise InputError(
        f"'{text}' cannot be a label.",
        f"Use up to {LONGEST_LABEL} characters without commas and line breaks, or write it as a note.",
    )


@contextmanager
def _changing(run: RunDir) -> Iterator[Annotations]:
    """Yields the annotations of a run, and lets nobody else change them inside the block."""
    from filelock import Timeout

    with ExitStack() as held:
        try:
            held.enter_context(locked(run.path / f".{ANNOTATIONS}{LOCK}", LOCK_SECONDS))
        except Timeout:
            raise InputError(f"Another process is writing {run.path / ANNOTATIONS}.", "Try again.") from None
        yield read_annotations(run)


def _write(run: RunDir, annotations: Annotations) -> Annotations:
    known = {"labels": annotations.labels, "notes": [vars(note) for note in annotations.notes]}
    # Without a checksum, because a person may edit it.
    run.write_text(ANNOTATIONS, json.dumps(json_ready(known), indent=2) + "\n")
    return annotations
