"""Checksums of the files of a run, by which a byte that has changed is noticed, and so is a file of another run.

Each JSON object of a run ends with its own SHA-256. `files` in `run.json` has the SHA-256 of each file that does not
change any more: it is written with the status of the run, so that no kill can come between the two. Weights and
checkpoints have a checksum inside, because a run replaces them while it goes on.
"""

import hashlib
import json
import operator
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from onecycle_cli.errors import InputError, naming
from onecycle_cli.run_dir.files import LASTING, RECIPE, REPEAT, RUN

FILES = "files"
"""The name in `run.json` of the SHA-256 of each file. While a file is replaced, both are given, with a space between.

Runs of older versions have no such name, and their files are read as they are."""

ANY = "any"
"""What stands for the checksum of a file that is written again with a content that is not known before."""

OWN = "sha256"
"""The last name in a JSON object of a run: the SHA-256 of the file with an empty text for this value."""

_OWN_AT_END = re.compile(rb'"([^"]{6})": "([^"]{64})"\n}\n\Z')
"""The name and the value of the checksum at the end of a file, also where a byte of either is damaged."""

_LONGEST_END = 80
"""More bytes than `_OWN_AT_END` takes."""


def with_own(value: Mapping[str, Any]) -> str:
    """Formats a JSON object with its checksum at the end."""
    others = {name: inner for name, inner in value.items() if name != OWN}
    text = json.dumps({**others, OWN: ""}, indent=2, allow_nan=False) + "\n"
    end = len(text) - len('"\n}\n')
    return text[:end] + sha256_of(text.encode()) + text[end:]


def has_its_own(written: bytes) -> bool:
    """Whether a JSON file has the content that its checksum says; True for a file without one.

    In a file of an older version, another text of that length may be the last.
    """
    found = _OWN_AT_END.search(written, max(0, len(written) - _LONGEST_END))
    if found is None or sum(map(operator.ne, found[1], OWN.encode())) > 1:
        return True
    start, end = found.span(2)
    return sha256_of(written[:start] + written[end:]).encode() == found[2]


def sha256_of(content: bytes) -> str:
    """Returns the SHA-256 of bytes, as hexadecimal digits."""
    return hashlib.sha256(content).hexdigest()


def sha256_in(path: Path) -> str:
    """Returns the SHA-256 of a file, as hexadecimal digits: 0.15 s for 100 MB."""
    with naming(path), path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sums_in(folder: Path, known: Mapping[str, str]) -> dict[str, str]:
    """Returns the SHA-256 of each file of a run that does not change any more.

    Those that are `known` are not read again: what happened to a file meanwhile is to be noticed, and not to be kept.
    """
    sums = {name: sha256 for name, sha256 in known.items() if " " not in sha256 and sha256 != ANY}
    for name in LASTING:
        if name not in sums:
            with suppress(FileNotFoundError, IsADirectoryError):
                sums[name] = sha256_in(folder / name)
    return sums


def are_sums(value: object) -> bool:
    """Whether a value of a `run.json` maps names to checksums, as `files` does."""
    return isinstance(value, dict) and all(isinstance(sha256, str) for sha256 in value.values())


def is_complete(facts: Mapping[str, Any]) -> bool:
    """Whether all files of a run are recorded, as they are at its end."""
    return bool(facts.get(FILES)) and bool(facts.get("ended"))


def must_be_as_written(path: Path, sha256: Callable[[], str] | None, facts: Mapping[str, Any]) -> None:
    """Checks that a file with this SHA-256, None if it is missing, is the one of its run; `InputError` if it is not.

    `facts` are the content of `run.json`. A file of a run in progress is not checked before it is recorded: `sha256` is
    called only if there is something to compare it with, since a table that grows may have hundreds of megabytes.
    """
    files = facts.get(FILES)
    if files is None:
        return
    if path.name in files:
        known = files[path.name].split()
        if ANY in known or (sha256 is not None and sha256() in known):
            return
        what = f"{path} is missing." if sha256 is None else f"{path} is damaged: it is not as its run wrote it."
    elif sha256 is not None and is_complete(facts) and path.name in LASTING:
        what = f"{path} is damaged, or {path.with_name(RUN)} is: its run wrote no such file."
    else:
        return
    fix = REPEAT
    if path.name == RECIPE:
        fix = "Put it back as it was. Changes belong in a copy of it elsewhere, for a new run."
    raise InputError(what, fix)
