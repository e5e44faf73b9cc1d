"""Hashes of file contents, without reading unchanged files again.

The hash of each file is kept in an index beside the decoded images. A file is read again when its size, mtime, ctime,
inode or device differ from the index. Only the kernel sets the ctime: `cp -p`, `touch -d` and unpacking an archive can
set the mtime to any value, but not the ctime.
"""

import hashlib
import json
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from stat import S_ISREG

from onecycle_cli.data.folder_listing import MOST_NAMED
from onecycle_cli.errors import InputError, naming, reading_error
from onecycle_cli.progress import Progress, Report

UNSETTLED_NS = 2 * 10**9
"""The age in nanoseconds, since the last change, below which a file is not indexed and so is read again next time.

A second write within one tick of a coarse clock (2 s on FAT) does not change the times of a file.
"""

LARGE = 2**24
"""The size in bytes above which a file is hashed piece by piece: a table of images may be larger than the memory."""

REPORT_EVERY = 1_000
"""The number of files between two progress reports."""


def content_digests(files: Sequence[Path], index: Path, report: Report) -> list[str]:
    """Returns the hash of the content of each file, in order: 32 hexadecimal digits of BLAKE2b.

    `index` is the JSON file that keeps the known hashes; it is written again when an entry changes. `InputError` when a
    file is missing, or is a pipe, a socket or a device, `MachineError` when the system cannot read it; both name files.
    """
    known = _read_index(index)
    digests, now_known = [], {}
    unreadable: list[tuple[OSError, str]] = []
    unread = 0
    for done, file in enumerate(files, start=1):
        try:
            stat = file.stat()
            if not S_ISREG(stat.st_mode):  # reading from a pipe may wait forever
                raise InputError(f"{file} is not a regular file: it is a pipe, a socket or a device.", "Remove it.")
            state = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino, stat.st_dev]
            entry = known.get(str(file))
            if entry is None or entry[:-1] != state:
                unread += 1
                entry = [*state, _digest(file, stat.st_size)]
        except OSError as error:  # also a broken link
            unreadable.append((error, f"{file} cannot be read: {error.strerror}"))
            continue
        digests.append(str(entry[-1]))
        if time.time_ns() - stat.st_ctime_ns > UNSETTLED_NS:
            now_known[str(file)] = entry
        if unread and done % REPORT_EVERY == 0:
            report(Progress("reading files", done, len(files), "files"))
    if unreadable:
        more = f"\nand {len(unreadable) - MOST_NAMED} more" if len(unreadable) > MOST_NAMED else ""
        texts = [text for _, text in unreadable[:MOST_NAMED]]
        raise reading_error(unreadable[0][0], "\n".join(texts) + more, "Restore or remove them.")
    if unread > REPORT_EVERY:
        report(Progress("reading files", len(files), len(files), "files"))
    if now_known != known:
        _write_index(index, now_known)
    return digests


def _digest(file: Path, size: int) -> str:
    if size <= LARGE:
        return hashlib.blake2b(file.read_bytes(), digest_size=16).hexdigest()
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _read_index(index: Path) -> dict[str, list[int | str]]:
    """Returns the entry of each file by its path; no entries if the index is missing or damaged."""
    try:
        found, crc32 = json.loads(index.read_text(encoding="ascii"))
    except (OSError, ValueError, TypeError):
        return {}
    return found if crc32 == _crc32(found) else {}


def _crc32(known: dict[str, list[int | str]]) -> int:
    return zlib.crc32(json.dumps(known).encode("ascii"))


def _write_index(index: Path, known: dict[str, list[int | str]]) -> None:
    beside = index.with_name(f".{index.name}")
    with naming(index):
        beside.write_text(json.dumps([known, _crc32(known)]), encoding="ascii")
        beside.replace(index)
