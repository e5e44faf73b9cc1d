"""Download of one file of known md5 from several byte-identical sources.

A partial download is kept in `NAME.part`. All sources hold the same bytes, so any source can resume it. A slow source
is skipped; if all are slow, the fastest is used.
"""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from onecycle_cli.errors import MachineError, naming
from onecycle_cli.progress import Progress, Report

CHUNK = 1 << 16
"""The number of bytes in one read."""

TRIES = 3
"""The number of tries per source: connections in a row that break after at most `CHUNK` bytes."""


@dataclass(frozen=True)
class Archive:
    """A file to download: `size` in bytes, `md5` in hexadecimal, `urls` of identical copies in the order to try."""

    name: str
    size: int
    md5: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Patience:
    """The limits of a download: a source below `bytes_per_second` over `seconds` is slow.

    A connection without an answer for `seconds` is broken. The original CIFAR-10 server sends 55 to 85 kB/s since
    2026-06 (pytorch/vision issue 9536), the others some MB/s.
    """

    bytes_per_second: float = 300_000
    seconds: float = 10


class _TooSlow(Exception):
    """The source is too slow; the argument is its speed in bytes per second."""


class _Broken(Exception):
    """The connection was refused, lost or silent for too long; the argument is the reason."""


class _Unusable(Exception):
    """The source does not deliver the file; the argument is the reason."""


def md5_of(path: Path) -> str:
    """Returns the md5 of a file in hexadecimal."""
    with naming(path), path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def fetch(archive: Archive, folder: Path, report: Report, patience: Patience = Patience()) -> Path:
    """Downloads `archive` to `folder` from the first source that delivers it, and returns the path of the file.

    The file appears under its name only when it is complete and its md5 is right. `MachineError` when every source
    fails, with the reason of each.
    """
    target = folder / archive.name
    failures: dict[str, str] = {}
    speeds: dict[str, float] = {}
    for url in archive.urls:
        try:
            return _from_source(url, archive, target, report, patience)
        except _TooSlow as slow:
            speeds[url] = slow.args[0]
            failures[url] = f"too slow, {slow.args[0] / 1000:.0f} kB/s"
        except _Unusable as reason:
            failures[url] = str(reason)
        report(f"{url}: {failures[url]}.")
    for url in sorted(speeds, key=speeds.__getitem__, reverse=True):
        report(f"No source is faster; the download continues from {url}.")
        try:
            return _from_source(url, archive, target, report, Patience(0, patience.seconds))
        except _Unusable as reason:
            failures[url] = str(reason)
    reasons = "\n".join(f"  {url}: {why}" for url, why in failures.items())
    raise MachineError(
        f"{archive.name} could not be downloaded:\n{reasons}",
        f"Download it yourself to {target} ({archive.size:,} bytes, md5 {archive.md5}).",
    )


def _from_source(url: str, archive: Archive, target: Path, report: Report, patience: Patience) -> Path:
    """Completes the partial download from one source, checks the md5, and renames the file to `target`."""
    part = target.with_name(target.name + ".part")
    resumed = _size(part) > 0
    _fill(url, part, archive, report, patience)
    if md5_of(part) != archive.md5:
        # Nobody can say which bytes are wrong, so all are deleted. If some came from an earlier download, they may be
        # the wrong ones, and this source gets another try.
        part.unlink()
        if resumed:
            return _from_source(url, archive, target, report, patience)
        raise _Unusable("sent other bytes than the original (md5 differs)")
    return part.replace(target)


def _fill(url: str, part: Path, archive: Archive, report: Report, patience: Patience) -> None:
    """Appends to `part` until it has the size of the archive; connects again after a broken connection."""
    failed_tries = 0
    while (held := _size(part)) < archive.size:
        try:
            for done in _receive(url, part, archive.size, patience):
                report(Progress(f"downloading {archive.name}", done, archive.size, "bytes"))
            why = f"closed the connection after {_size(part):,} of {archive.size:,} bytes"
        except _Broken as error:
            why = str(error)
        failed_tries = 0 if _size(part) - held > CHUNK else failed_tries + 1
        if failed_tries == TRIES:
            raise _Unusable(why)


def _receive(url: str, part: Path, size: int, patience: Patience) -> Iterator[int]:
    """Downloads `url` over one connection, appends to `part`, and yields the size of `part` after each read."""
    held = _size(part)
    headers = {"User-Agent": "onecycle"} | ({"Range": f"bytes={held}-"} if held else {})
    with _network():
        # Only http and https: the addresses are ours, or a recipe's mirrors, whose pattern is `Url`; a redirect to a
        # file is refused by urllib itself.
        request = urllib.request.Request(url, headers=headers)  # noqa: S310
        answer = urllib.request.urlopen(request, timeout=patience.seconds)  # noqa: S310
    with answer:
        # A server without range support answers 200 and starts at the first byte.
        resumed = answer.status == HTTPStatus.PARTIAL_CONTENT
        _check_headers(answer, held if resumed else 0, size)
        with naming(part), part.open("ab" if resumed else "wb") as file:
            done = held if resumed else 0
            since, then = time.monotonic(), done
            while done < size:
                with _network():
                    chunk = answer.read1(CHUNK)
                if not chunk:
                    return
                file.write(chunk)
                done += len(chunk)
                yield done
                elapsed = time.monotonic() - since
                if elapsed >= patience.seconds:
                    speed = (done - then) / elapsed
                    if speed < patience.bytes_per_second and done < size:
                        raise _TooSlow(speed)
                    since, then = time.monotonic(), done


def _check_headers(answer: http.client.HTTPResponse, start: int, size: int) -> None:
    """Raises `_Unusable` when the announced size or range is wrong, such as for an HTML page in place of the file."""
    length = answer.headers.get("Content-Length")
    if length is not None and start + int(length) != size:
        raise _Unusable(f"announced {start + int(length):,} bytes, but the file has {size:,}")
    if start and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        raise _Unusable(f"answered with another range than requested ({answer.headers.get('Content-Range')})")


@contextmanager
def _network() -> Iterator[None]:
    """Turns errors of the network into `_Unusable` or `_Broken`; an OSError outside this block comes from the disk."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()  # the error is also the response, and its connection is open
        raise _Unusable(f"answered {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(f"{getattr(error, 'reason', error) or type(error).__name__}") from None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
