"""Fetching one file of known md5 from several byte-identical sources.

What was fetched is kept in `NAME.part`; since all sources hold the same bytes, any of them may go on where another
stopped. A source that crawls is left for the next; when all crawl, the fastest is taken as it is.
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

from onecycle_cli.errors import MachineError
from onecycle_cli.progress import Progress, Report

CHUNK = 1 << 16
TRIES = 3
"""Broken connections in a row, each with next to nothing gained, before a source is given up."""


@dataclass(frozen=True)
class Archive:
    """A file that is known to the byte: `size` in bytes, `md5` in hexadecimal, `urls` in the order to try them."""

    name: str
    size: int
    md5: str
    urls: tuple[str, ...]


@dataclass(frozen=True)
class Patience:
    """When a source counts as crawling: below `bytes_per_second` over `seconds`. No answer for `seconds` is a break.

    The original CIFAR-10 server gives 55 to 85 kB/s since 2026-06 (pytorch/vision issue 9536), others some MB/s.
    """

    bytes_per_second: float = 300_000
    seconds: float = 10


class _Crawls(Exception):
    """The source is too slow; the argument is its bytes per second."""


class _Broken(Exception):
    """The connection was refused, lost, or silent for too long; the argument says which."""


class _Unusable(Exception):
    """The source does not give the file; the argument says why."""


def md5_of(path: Path) -> str:
    """The md5 of a file as hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "md5").hexdigest()


def fetch(archive: Archive, folder: Path, report: Report, patience: Patience = Patience()) -> Path:
    """Fetches `archive` into `folder` from the first source that gives it; it appears whole and checked, or not at all.

    `MachineError` where no source gives it, with what each one said.
    """
    target = folder / archive.name
    failures: dict[str, str] = {}
    speeds: dict[str, float] = {}
    for url in archive.urls:
        try:
            return _from_source(url, archive, target, report, patience)
        except _Crawls as crawl:
            speeds[url] = crawl.args[0]
            failures[url] = f"gives only {crawl.args[0] / 1000:.0f} kB/s"
        except _Unusable as reason:
            failures[url] = str(reason)
        report(f"{url}: {failures[url]}.")
    for url in sorted(speeds, key=speeds.__getitem__, reverse=True):
        report(f"No faster source is left; {url} goes on at its own pace.")
        try:
            return _from_source(url, archive, target, report, Patience(0, patience.seconds))
        except _Unusable as reason:
            failures[url] = str(reason)
    said = "\n".join(f"  {url}: {why}" for url, why in failures.items())
    raise MachineError(
        f"{archive.name} could not be fetched:\n{said}",
        f"Put the file there by hand: {target} ({archive.size:,} bytes, md5 {archive.md5}).",
    )


def _from_source(url: str, archive: Archive, target: Path, report: Report, patience: Patience) -> Path:
    """Goes on from one source until the file is whole, then checks it and moves it to `target`."""
    part = target.with_name(target.name + ".part")
    begun_elsewhere = _size(part) > 0
    _fill(url, part, archive, report, patience)
    if md5_of(part) != archive.md5:
        # Which bytes are wrong cannot be told, so none is kept. Those that were there before may be to blame.
        part.unlink()
        if begun_elsewhere:
            return _from_source(url, archive, target, report, patience)
        raise _Unusable("gave other bytes than the original (md5 differs)")
    return part.replace(target)


def _fill(url: str, part: Path, archive: Archive, report: Report, patience: Patience) -> None:
    """Appends to `part` until it has the size of the archive, over as many connections as that takes."""
    in_vain = 0
    while (held := _size(part)) < archive.size:
        try:
            for done in _receive(url, part, archive.size, patience):
                report(Progress(f"fetching {archive.name}", done, archive.size, "bytes"))
            why = f"broke off after {_size(part):,} of {archive.size:,} bytes"
        except _Broken as error:
            why = str(error)
        in_vain = 0 if _size(part) - held > CHUNK else in_vain + 1
        if in_vain == TRIES:
            raise _Unusable(why)


def _receive(url: str, part: Path, size: int, patience: Patience) -> Iterator[int]:
    """Appends what `url` gives to `part`; yields the bytes held so far."""
    held = _size(part)
    headers = {"User-Agent": "onecycle"} | ({"Range": f"bytes={held}-"} if held else {})
    with _network():
        answer = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=patience.seconds)
    with answer:
        # A server that knows no ranges answers 200 and starts from the beginning.
        resumed = answer.status == HTTPStatus.PARTIAL_CONTENT
        _must_be_the_file(answer, held if resumed else 0, size)
        with part.open("ab" if resumed else "wb") as file:
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
                        raise _Crawls(speed)
                    since, then = time.monotonic(), done


def _must_be_the_file(answer: http.client.HTTPResponse, start: int, size: int) -> None:
    """Refuses a page that stands in for the file before any of it is kept: what is announced has another size."""
    length = answer.headers.get("Content-Length")
    if length is not None and start + int(length) != size:
        raise _Unusable(f"announced {start + int(length):,} bytes, but the file has {size:,}")
    if start and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
        raise _Unusable(f"answered another range than asked for ({answer.headers.get('Content-Range')})")


@contextmanager
def _network() -> Iterator[None]:
    """Tells what the network raises from what the disk raises: both are OSError."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()  # it is the answer, too, with its connection open
        raise _Unusable(f"answered {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        raise _Broken(f"{getattr(error, 'reason', error) or type(error).__name__}") from None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
