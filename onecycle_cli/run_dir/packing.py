"""Packs runs into one file, which `unpacking.py` checks and unpacks elsewhere."""

import gzip
import hashlib
import json
import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO

from onecycle_cli.errors import InputError, naming
from onecycle_cli.run_dir.archive import (
    BLOCK,
    FORMAT,
    LIST,
    LONGEST_LIST,
    PackedFile,
    Unsafe,
    must_be_safe,
    must_shrink_as_runs_do,
)
from onecycle_cli.run_dir.at_rest import must_rest
from onecycle_cli.run_dir.checksums import must_be_as_written
from onecycle_cli.run_dir.files import LASTING, RUN
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.writing import must_be_new, write_new


def pack(runs: Sequence[RunDir], file: Path) -> list[PackedFile]:
    """Writes runs, with all runs inside them, to a new archive; returns what it holds.

    Hidden files, such as locks, are left out. `InputError` if the file exists, if a run is running, if a file of it
    has changed since it ended, or if it has something that cannot be packed: a link to elsewhere, a device, a name that
    another system would not take.
    """
    must_be_new(file)
    names = [run.path.absolute().name for run in runs]
    for run, name in zip(runs, names, strict=True):
        if names.count(name) > 1:
            raise InputError(f"Two of the runs are called '{name}'.", "Pack them into two files.")
        must_rest(run, elsewhere_ended=True)
    sources = {f"{name}/{inner}": run.path / inner for run, name in zip(runs, names, strict=True) for inner in _in(run)}
    packed = [PackedFile(path, *_measured(sources[path])) for path in sorted(sources)]
    records = {folder: RunDir(folder).record for folder in {path.parent for path in sources.values()}}
    for one in packed:
        must_be_as_written(sources[one.path], partial(str, one.sha256), records[sources[one.path].parent])
    try:
        must_be_safe(names, packed)
        write_new(file, lambda beside: _write(beside, names, packed, sources))
    except Unsafe as unsafe:
        raise InputError(f"{unsafe}.", "Rename or remove that: `onecycle runs unpack` would refuse it.") from None
    return packed


def _in(run: RunDir) -> Iterator[str]:
    """Yields the paths of the files in the folder of a run and below, without hidden ones and links to each other."""
    pending = [""]
    while pending:
        folder = pending.pop()
        with os.scandir(run.path / folder) as entries:
            for entry in entries:
                if entry.name[0] == ".":
                    continue
                if entry.is_symlink():
                    is_within = Path(entry.path).resolve().is_relative_to(run.path.resolve())
                    if is_within and entry.name not in (RUN, *LASTING):
                        continue  # W&B makes such links; what they lead to is packed under its own name
                    raise InputError(
                        f"{entry.path} is a link, which is not followed.", "Put the file itself there, or remove it."
                    )
                if entry.is_dir():
                    pending.append(f"{folder}{entry.name}/")
                elif entry.is_file():
                    yield f"{folder}{entry.name}"
                else:
                    raise InputError(f"{entry.path} is neither a file nor a folder.", "Remove it first.")


def _measured(path: Path) -> tuple[int, str]:
    digest, size = hashlib.sha256(), 0
    with naming(path), path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            size += len(block)
    return size, digest.hexdigest()


def _write(path: Path, names: Sequence[str], packed: Sequence[PackedFile], sources: dict[str, Path]) -> None:
    listed = {"format": FORMAT, "runs": sorted(names), "files": [asdict(one) for one in packed]}
    text = json.dumps(listed, indent=1).encode()
    if len(text) > LONGEST_LIST:
        raise Unsafe("The list of its files is too long")
    with (
        naming(path),
        path.open("wb") as raw,
        gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        tar.addfile(_member(LIST, len(text)), BytesIO(text))
        for one in packed:
            with naming(sources[one.path]), sources[one.path].open("rb") as file:
                reader = _Hashing(file)
                try:
                    tar.addfile(_member(one.path, one.size), reader)  # type: ignore[arg-type]
                    as_it_was = not file.read(1) and reader.digest.hexdigest() == one.sha256
                except OSError as error:
                    if error.errno is not None:
                        raise
                    as_it_was = False  # tarfile's word for a file that has become shorter
            if not as_it_was:
                raise InputError(f"{sources[one.path]} has changed while it was packed.", "Pack it again.")
    must_shrink_as_runs_do(packed, path)


def _member(name: str, size: int) -> tarfile.TarInfo:
    """Returns the header of a file, which depends on nothing but its name and size."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    return member


class _Hashing:
    """A file that is read once, from its start, and hashed on the way."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        block = self._file.read(size)
        self.digest.update(block)
        return block
