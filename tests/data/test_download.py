"""Fetching from several sources, each a server on loopback with a fault of its own."""

import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from onecycle_cli.data import download
from onecycle_cli.data.download import Archive, Patience, fetch, md5_of
from onecycle_cli.errors import MachineError
from onecycle_cli.progress import Progress, silent

BODY = bytes(range(256)) * 4000  # about 1 MB
PATIENCE = Patience(bytes_per_second=40_000, seconds=10)


class Pace:
    """A clock that only slow sources move on, for each piece that the reader has got: no machine is too slow for it."""

    def __init__(self) -> None:
        self.now = 0.0
        self.held = 0
        self.told: list[str] = []
        self.newest: object = None  # the connection that the reader has not left

    def report(self, news: Progress | str) -> None:
        if isinstance(news, str):
            self.told.append(news)
        else:
            self.held = news.done


class Source:
    """A server with one file. What it does with it is up to the test; it remembers the ranges that were asked for."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.body = BODY
        self.ranges: list[str | None] = []
        self.knows_ranges = True
        self.status: int | None = None
        self.breaks_off_after: int | None = None
        self.bytes_per_second: float | None = None
        self.says_no_more = False
        source = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                source.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        self._closing = threading.Event()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False  # closing waits for them
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/file.bin"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        self.pace.newest = request
        asked = request.headers.get("Range")
        self.ranges.append(asked)
        if self.status:
            request.send_error(self.status)
            return
        start = int(asked.removeprefix("bytes=").removesuffix("-")) if asked and self.knows_ranges else 0
        request.send_response(206 if start else 200)
        request.send_header("Content-Length", str(len(self.body) - start))
        if start:
            request.send_header("Content-Range", f"bytes {start}-{len(self.body) - 1}/{len(self.body)}")
        request.end_headers()
        end = len(self.body) if self.breaks_off_after is None else min(len(self.body), start + self.breaks_off_after)
        piece = 10_000
        try:
            for at in range(start, end, piece):
                upto = min(at + piece, end)
                if self.bytes_per_second:
                    self.pace.now += (upto - at) / self.bytes_per_second
                request.wfile.write(self.body[at:upto])
                if self.says_no_more:
                    self._closing.wait()
                while self.bytes_per_second and self.pace.held < upto and self.pace.newest is request:
                    if self._closing.wait(0.001):
                        return
                if self.pace.newest is not request:
                    return
        except ConnectionError:
            pass

    def close(self) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def pace(monkeypatch: pytest.MonkeyPatch) -> Pace:
    made = Pace()
    monkeypatch.setattr(download, "time", SimpleNamespace(monotonic=lambda: made.now))
    return made


@pytest.fixture
def source(pace: Pace) -> Iterator[Callable[[], Source]]:
    made = []

    def make() -> Source:
        made.append(Source(pace))
        return made[-1]

    yield make
    for one in made:
        one.close()


def archive(*sources: Source | str, body: bytes = BODY) -> Archive:
    urls = tuple(one if isinstance(one, str) else one.url for one in sources)
    return Archive("file.bin", len(body), hashlib.md5(body).hexdigest(), urls)


def test_a_good_source_gives_the_file_and_tells_how_far_it_is(tmp_path: Path, source: Callable) -> None:
    news: list[Progress | str] = []
    got = fetch(archive(source()), tmp_path, news.append)
    assert got == tmp_path / "file.bin"
    assert got.read_bytes() == BODY
    assert list(tmp_path.iterdir()) == [got]
    assert news[-1] == Progress("downloading file.bin", len(BODY), len(BODY), "bytes")


def test_a_broken_download_goes_on_where_it_stopped(tmp_path: Path, source: Callable) -> None:
    breaking = source()
    breaking.breaks_off_after = 300_000
    fetch(archive(breaking), tmp_path, silent)
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert breaking.ranges == [None, "bytes=300000-", "bytes=600000-", "bytes=900000-"]


def test_what_an_earlier_process_left_is_gone_on_with(tmp_path: Path, source: Callable) -> None:
    (tmp_path / "file.bin.part").write_bytes(BODY[:500_000])
    good = source()
    fetch(archive(good), tmp_path, silent)
    assert good.ranges == ["bytes=500000-"]
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_a_crawling_source_is_left_for_the_next_which_goes_on_where_it_was(
    tmp_path: Path, source: Callable, pace: Pace
) -> None:
    slow, good = source(), source()
    slow.bytes_per_second = 4_000
    fetch(archive(slow, good), tmp_path, pace.report, PATIENCE)
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert len(slow.ranges) == 1
    assert int(good.ranges[0].removeprefix("bytes=").removesuffix("-")) > 0
    assert "too slow" in pace.told[0]
    assert slow.url in pace.told[0]


def test_when_all_crawl_the_fastest_is_taken_as_it_is(tmp_path: Path, source: Callable, pace: Pace) -> None:
    slower, slow = source(), source()
    slower.bytes_per_second, slow.bytes_per_second = 2_000, 30_000
    fetch(archive(slower, slow), tmp_path, pace.report, PATIENCE)
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert f"No source is faster; the download continues from {slow.url}." in pace.told[-1]


def test_a_source_that_says_nothing_is_left_for_the_next(tmp_path: Path, source: Callable) -> None:
    mute, good = source(), source()
    mute.says_no_more = True
    fetch(archive(mute, good), tmp_path, silent, Patience(bytes_per_second=1, seconds=0.3))
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert len(mute.ranges) == download.TRIES


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (BODY[:-1] + b"!", "sent other bytes than the original"),
        (BODY + b"more", "announced 1,024,004 bytes, but the file has 1,024,000"),
        (b"<html>not found</html>", "announced 22 bytes"),
    ],
)
def test_wrong_bytes_are_thrown_away_and_the_next_source_asked(
    tmp_path: Path, source: Callable, wrong: bytes, says: str
) -> None:
    bad, good = source(), source()
    bad.body = wrong
    news: list[str] = []
    fetch(archive(bad, good), tmp_path, lambda one: news.append(one) if isinstance(one, str) else None)
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert says in news[0]


def test_wrong_bytes_of_an_earlier_process_are_found_and_fetched_again(tmp_path: Path, source: Callable) -> None:
    (tmp_path / "file.bin.part").write_bytes(b"x" * 1000)
    good = source()
    fetch(archive(good), tmp_path, silent)
    assert (tmp_path / "file.bin").read_bytes() == BODY
    assert good.ranges == ["bytes=1000-", None]


def test_a_server_without_ranges_starts_over(tmp_path: Path, source: Callable) -> None:
    (tmp_path / "file.bin.part").write_bytes(BODY[:1000])
    plain = source()
    plain.knows_ranges = False
    fetch(archive(plain), tmp_path, silent)
    assert (tmp_path / "file.bin").read_bytes() == BODY


@pytest.mark.parametrize("status", [404, 500])
def test_a_server_that_refuses_is_left_for_the_next(tmp_path: Path, source: Callable, status: int) -> None:
    refusing, good = source(), source()
    refusing.status = status
    fetch(archive(refusing, good), tmp_path, silent)
    assert len(refusing.ranges) == 1
    assert (tmp_path / "file.bin").read_bytes() == BODY


def test_with_no_source_left_it_says_what_each_said_and_where_to_put_the_file(tmp_path: Path, source: Callable) -> None:
    refusing = source()
    refusing.status = 404
    nobody = "http://127.0.0.1:9/file.bin"
    with pytest.raises(MachineError) as caught:
        fetch(archive(refusing, nobody), tmp_path, silent)
    assert f"{refusing.url}: answered 404" in caught.value.what
    assert f"{nobody}: " in caught.value.what
    assert "refused" in caught.value.what
    assert str(tmp_path / "file.bin") in caught.value.fix
    assert "1,024,000 bytes" in caught.value.fix
    assert not (tmp_path / "file.bin").exists()


def test_md5_is_of_the_whole_file(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(BODY)
    assert md5_of(tmp_path / "x") == hashlib.md5(BODY).hexdigest()
