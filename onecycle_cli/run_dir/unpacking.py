"""Unpacks runs that `packing.py` has packed.

An archive may come from a stranger. So nothing is extracted by name: every member must be the next file of the list,
and the list itself is checked first. A run gets its place only when all of the archive has been read and agrees.
"""

import gzip
import hashlib
import json
import os
import shutil
import tarfile
import time
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from onecycle_cli.errors import InputError, MachineError, naming
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
from onecycle_cli.run_dir.files import RUN
from onecycle_cli.run_dir.run import RunDir, put
from onecycle_cli.run_dir.writing import make_folder, to_disk

UNPACKING = ".unpacking-"
"""The start of the name of the folder into which an archive is unpacked; a kill may leave it behind."""

REST_SECONDS = 3600.0
"""The age from which such a folder may be a rest: one that was just made has no lock yet."""

MOST_HEADER = 2**16
"""The largest size of what stands before the content of a file, in bytes."""

FULL_RECORD = 20 * tarfile.BLOCKSIZE
"""An archive ends in zeros, up to a multiple of this many bytes."""

UNREADABLE = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile, ValueError, RecursionError, OverflowError)
"""What Python raises while it reads an archive that is damaged or crafted."""


def unpack(file: Path, runs_dir: Path) -> list[RunDir]:
    """Unpacks an archive of `pack` into `runs_dir`, all of its runs or none, and returns them.

    Everything is written to a hidden folder first, and checked. A run that says that it is running becomes interrupted:
    it does not run here. `InputError` if the archive is damaged or not one of `pack`, or if a run exists already.
    """
    if not file.is_file():
        raise InputError(f"There is no file {file}.", "Name an archive that `onecycle runs pack` has written.")
    make_folder(runs_dir)
    _delete_rests(runs_dir)
    staging = runs_dir / f"{UNPACKING}{uuid4().hex}"
    staging.mkdir()
    try:
        with RunDir(staging).alone():
            with _as_input_errors(file):
                names = _read(file, runs_dir, staging)
                for name in names:
                    _make_ready(RunDir(staging / name), name)
            for path in staging.rglob("*"):
                to_disk(path)
            return _put_all(staging, runs_dir, names)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _delete_rests(runs_dir: Path) -> None:
    """Deletes what killed commands left behind: hidden folders that are old and that no process has locked."""
    for path in runs_dir.glob(f"{UNPACKING}*"):
        # One in use, of another person, or gone by now is left alone.
        with suppress(InputError, OSError):
            if path.is_dir() and not path.is_symlink() and time.time() - path.stat().st_mtime > REST_SECONDS:
                with RunDir(path).alone():
                    shutil.rmtree(path)


@contextmanager
def _as_input_errors(file: Path) -> Iterator[None]:
    """Turns what is wrong with the archive inside the block into an `InputError`."""
    try:
        yield
    except Unsafe as unsafe:
        what = f"{file} is not an archive of `onecycle runs pack`, or was changed since. {unsafe}."
        raise InputError(what, "Nothing was unpacked. Ask for the file again.") from None
    except UNREADABLE as error:
        what = f"{file} is damaged, or not an archive of `onecycle runs pack`: {error}."
        raise InputError(what, "Nothing was unpacked. Copy it again.") from None


def _read(file: Path, runs_dir: Path, staging: Path) -> list[str]:
    """Writes the files of an archive to `staging`, each checked; returns the names of its runs."""
    with naming(file), file.open("rb") as raw, gzip.GzipFile(fileobj=raw, mode="rb") as compressed:
        stream = _Forward(compressed)
        with tarfile.open(fileobj=stream, mode="r:") as tar:  # type: ignore[call-overload]
            names, packed = _read_list(tar, stream)
            must_be_safe(names, packed)
            must_shrink_as_runs_do(packed, file)
            _must_have_room(runs_dir, names, sum(one.size for one in packed))
            for one in packed:
                _write_next(tar, stream, one, staging)
            stream.allow(MOST_HEADER)
            if tar.next() is not None:
                raise Unsafe("It has files that are not in its list")
        rest = compressed.read(FULL_RECORD + 1)  # to the end, where gzip has a checksum
        if len(rest) > FULL_RECORD or rest.strip(b"\0"):
            raise Unsafe("Something follows its files")
    return names


class _Forward:
    """The bytes of an archive for `tarfile`, which would read as many at once, and go back, as a header says."""

    def __init__(self, file: gzip.GzipFile) -> None:
        self._file = file
        self._left = MOST_HEADER

    def allow(self, size: int) -> None:
        """Sets how many bytes may be read until the next call."""
        self._left = size

    def read(self, size: int) -> bytes:
        self._spend(size)
        return self._file.read(size)

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, offset: int) -> None:
        self._spend(offset - self.tell())
        self._file.seek(offset)

    def _spend(self, size: int) -> None:
        if not 0 <= size <= self._left:
            raise Unsafe("One of its headers is larger than any that belongs there")
        self._left -= size


def _next(tar: tarfile.TarFile, stream: _Forward, path: str, size: int | None) -> tarfile.TarInfo:
    """Returns the next member, which must be a file of this path and size (None: of any)."""
    stream.allow(MOST_HEADER)
    member = tar.next()
    tar.members = []  # type: ignore[attr-defined]  # it would keep all of them
    if member is None:
        raise Unsafe(f"It ends before '{path}'")
    is_file = member.type == tarfile.REGTYPE and not member.issparse()
    if member.name != path or not is_file or size not in (None, member.size):
        raise Unsafe(f"'{member.name}' stands where its list has the file '{path}', or differs from it")
    return member


def _read_list(tar: tarfile.TarFile, stream: _Forward) -> tuple[list[str], list[PackedFile]]:
    member = _next(tar, stream, LIST, None)
    if not 0 <= member.size <= LONGEST_LIST:
        raise Unsafe("Its list is too long")
    stream.allow(member.size)
    file = tar.extractfile(member)
    listed = json.loads(b"" if file is None else file.read())
    try:
        if listed["format"] != FORMAT:
            raise Unsafe(f"Its format is {listed['format']!r}, and this version reads {FORMAT}")
        names, packed = listed["runs"], [PackedFile(**one) for one in listed["files"]]
    except (KeyError, TypeError):
        raise Unsafe("Its list is incomplete") from None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Unsafe("Its list has names that are not text")
    for one in packed:
        types_fit = isinstance(one.path, str) and type(one.size) is int and isinstance(one.sha256, str)
        if not types_fit or one.size < 0:
            raise Unsafe("Its list has a file without a name, a size or a hash")
    return names, packed


def _must_have_room(runs_dir: Path, names: Sequence[str], size: int) -> None:
    for name in names:
        if os.path.lexists(runs_dir / name):
            raise _exists(runs_dir / name)
    free = shutil.disk_usage(runs_dir).free
    if size > free:
        what = f"The runs need {size / 2**20:,.0f} MiB, and the disk of {runs_dir} has {free / 2**20:,.0f} MiB free."
        raise MachineError(what, "Free some space, or choose another --runs-dir.")


def _exists(path: Path) -> InputError:
    return InputError(
        f"There is a run {path} already.", "Nothing was unpacked. Rename it, or choose another --runs-dir."
    )


def _write_next(tar: tarfile.TarFile, stream: _Forward, one: PackedFile, staging: Path) -> None:
    """Writes the next member of an archive, which must be the listed file `one`."""
    source = tar.extractfile(_next(tar, stream, one.path, one.size))
    stream.allow(one.size)
    path = staging / one.path
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    with naming(path), path.open("xb") as file:
        while source is not None and (block := source.read(BLOCK)):
            digest.update(block)
            file.write(block)
    if digest.hexdigest() != one.sha256:
        raise Unsafe(f"The content of '{one.path}' is not the one in its list")


def _make_ready(run: RunDir, name: str) -> None:
    """Checks a run that was unpacked, and marks it and those inside it as interrupted where they were running."""
    for folder, _, files in os.walk(run.path):
        if RUN not in files:
            continue
        inner = RunDir(folder)
        try:
            if inner.facts["status"] == "running":
                inner.update(status="interrupted")
        except InputError:
            if inner.path == run.path:  # one inside of a sweep may be damaged, as it was there
                raise Unsafe(f"The {RUN} of '{name}' is damaged") from None


def _put_all(staging: Path, runs_dir: Path, names: Sequence[str]) -> list[RunDir]:
    """Renames the runs into place; none of them if one has no place any more, or the disk fails."""
    done: list[str] = []
    try:
        for name in names:
            if os.path.lexists(runs_dir / name) or not put(staging / name, runs_dir / name):
                raise _exists(runs_dir / name)
            done.append(name)
    except (InputError, OSError):
        for other in done:
            (runs_dir / other).rename(staging / other)
        raise
    return [RunDir(runs_dir / name) for name in names]
