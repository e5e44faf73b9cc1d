"""A local server for one report that refreshes itself while its runs go on: read only, on loopback, behind a token."""

import errno
import hashlib
import hmac
import json
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from time import monotonic

from onecycle_cli.errors import InputError, OnecycleError
from onecycle_cli.experiments.report import page_of
from onecycle_cli.figures.report.page import render
from onecycle_cli.run_dir.files import REPORT
from onecycle_cli.run_dir.run import RunDir

HOST = "127.0.0.1"

POLL_SECONDS = 2.0
"""How often an open page asks for the state of its runs."""

RESTS = 5
"""How many times as long as a page took to make nothing is made: so it takes a sixth of one processor at most."""

DEEPEST = 2
"""How many folders deep the files of a run are looked at: those of the cells of a sweep, and no deeper."""

HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""The headers of every answer. The page itself has a policy that forbids all scripts but its own."""


def state_of(runs: Sequence[RunDir]) -> str:
    """Returns a text that changes whenever a file of the runs changes, or a process of one ends, or one is gone."""
    seen = [(str(path), *_size_and_time(path)) for run in runs for path in sorted(_files(run.path, DEEPEST))]
    return hashlib.sha256(repr([*seen, *map(_status, runs)]).encode()).hexdigest()[:16]


def _status(run: RunDir) -> str | None:
    with suppress(OnecycleError, OSError):  # damaged, moved or removed, which the page says
        return run.status
    return None


def _files(folder: Path, depth: int) -> list[Path]:
    found: list[Path] = []
    try:
        paths = list(folder.iterdir())
    except OSError:  # moved or removed
        return found
    for path in paths:
        if path.name.startswith(".") or path.name == REPORT:
            continue
        if path.is_dir():
            found += _files(path, depth - 1) if depth > 1 else []
        else:
            found.append(path)
    return found


def _size_and_time(path: Path) -> tuple[int, int]:
    try:
        known = path.stat()
    except OSError:  # renamed meanwhile
        return 0, 0
    return known.st_size, known.st_mtime_ns


class ReportServer(ThreadingHTTPServer):
    """The server of one report. `address` is the page's; whoever does not know it gets an empty answer 404.

    It answers GET for the page and for its state, and nothing else. Requests for another host name are refused, because
    a page of the web could otherwise read this one through a name that it points at this machine.

    A new page is due `POLL_SECONDS` after the last one, or `RESTS` times as long as that took to make: the processor
    belongs to the training. Until then, the server tells the state of the page that it has.
    """

    daemon_threads = True

    def __init__(
        self, runs: Sequence[RunDir], runs_dir: Path, port: int = 0, clock: Callable[[], float] = monotonic
    ) -> None:
        """Opens the port; 0 is any free one. `InputError` if it cannot be had. `clock` tells the seconds."""
        try:
            super().__init__((HOST, port), _Handler)
        except OSError as error:
            raise _no_port(port, error) from None
        self.token = secrets.token_urlsafe(24)
        self._runs, self._runs_dir = runs, runs_dir
        self._lock = Lock()
        self._rendered: tuple[str, bytes] | None = None
        self._clock, self._due = clock, 0.0

    @property
    def address(self) -> str:
        """The address of the page, with its token."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def handle_error(self, *_: object) -> None:
        """Prints nothing: a browser that closes its connection is no error of ours."""

    def state(self) -> str:
        """Returns the state of the runs, or that of the page until a new one is due."""
        rendered = self._rendered
        return rendered[0] if rendered is not None and self._clock() < self._due else state_of(self._runs)

    def page(self) -> bytes:
        """Returns the page; it is made again only if the runs have changed and a new one is due."""
        with self._lock:
            state = self.state()
            if self._rendered is None or self._rendered[0] != state:
                began = self._clock()
                page = render(page_of(self._runs, self._runs_dir, live=state))
                ended = self._clock()
                self._due = ended + max(POLL_SECONDS, RESTS * (ended - began))
                self._rendered = (state, page.encode())
            return self._rendered[1]


def _no_port(port: int, error: OSError) -> InputError:
    fix = "Give another --port, or leave it out for any free one."
    if error.errno == errno.EADDRINUSE:
        return InputError(f"Port {port} is in use.", fix)
    return InputError(f"Port {port} cannot be opened: {error.strerror}.", fix)


class _Handler(BaseHTTPRequestHandler):
    server: ReportServer
    server_version = "onecycle"
    sys_version = ""
    timeout = 30

    def do_GET(self) -> None:
        try:
            self._get()
        except ConnectionError:
            raise
        except Exception:  # the next look may succeed
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR)

    def _get(self) -> None:
        port = self.server.server_port
        if self.headers.get("Host") not in (f"{HOST}:{port}", f"localhost:{port}"):
            self._answer(HTTPStatus.FORBIDDEN)
        elif self._is(""):
            self._answer(HTTPStatus.OK, self.server.page(), "text/html; charset=utf-8")
        elif self._is("version"):
            state = json.dumps({"version": self.server.state()}).encode()
            self._answer(HTTPStatus.OK, state, "application/json")
        else:
            self._answer(HTTPStatus.NOT_FOUND)

    def _is(self, name: str) -> bool:
        """Whether the path is that of `name` behind the token; the comparison takes the same time for every token."""
        return hmac.compare_digest(self.path.encode(), f"/{self.server.token}/{name}".encode())

    def _answer(self, status: HTTPStatus, body: bytes = b"", kind: str = "text/plain") -> None:
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Type": kind, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Prints nothing: the terminal shows the address."""
