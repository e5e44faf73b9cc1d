"""The live report answers its own page, to those who know its address, and nothing else."""

import http.client
import json
import shutil
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.report_server import HOST, ReportServer, state_of
from onecycle_cli.figures.report.content import Page
from onecycle_cli.figures.report.page import render
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.run import RunDir

Answer = tuple[int, bytes, http.client.HTTPMessage]


@pytest.fixture
def run(tmp_path: Path, tiny: Callable[..., Recipe]) -> RunDir:
    text = to_yaml(tiny())
    return RunDir.create(tmp_path, command="train", recipe_name="d", recipe_yaml=text, facts={}, name="a-run")


class Clock:
    """A clock that only a test moves."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


@contextmanager
def serving(runs: Sequence[RunDir], runs_dir: Path, clock: Callable[[], float]) -> Iterator[ReportServer]:
    with ReportServer(runs, runs_dir, clock=clock) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def server(run: RunDir, tmp_path: Path, clock: Clock) -> Iterator[ReportServer]:
    with serving([run], tmp_path, clock) as made:
        yield made


def ask(server: ReportServer, path: str, method: str = "GET", **headers: str) -> Answer:
    connection = http.client.HTTPConnection(HOST, server.server_port, timeout=30)
    try:
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()


def test_it_listens_on_this_machine_alone_behind_a_token(server: ReportServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    assert len(server.token) >= 32
    assert server.address == f"http://127.0.0.1:{server.server_port}/{server.token}/"


def test_who_knows_the_address_gets_the_page_and_its_state(server: ReportServer, run: RunDir, clock: Clock) -> None:
    status, page, headers = ask(server, f"/{server.token}/")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert b"train d: running." in page
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    state = json.loads(ask(server, f"/{server.token}/version")[1])["version"]
    assert f'<meta name="live" content="{state}" data-running>'.encode() in page
    run.write_text("steps.csv", "step,epoch,lr,momentum,train_loss\n")
    clock.seconds += 3
    assert json.loads(ask(server, f"/{server.token}/version")[1])["version"] != state
    assert b"The training has made no step yet." in ask(server, f"/{server.token}/")[1]


@pytest.mark.parametrize("path", ["/", "/version", "/{token}", "/{token}/run.json", "/{token}/../", "/{wrong}/"])
def test_everything_else_is_not_found(server: ReportServer, path: str) -> None:
    wrong = server.token[:-1] + ("a" if server.token[-1] != "a" else "b")
    status, body, _ = ask(server, path.format(token=server.token, wrong=wrong))
    assert (status, body) == (404, b"")


def test_a_path_of_any_bytes_is_not_found(server: ReportServer) -> None:
    with socket.create_connection((HOST, server.server_port), timeout=30) as connection:
        connection.sendall(f"GET /\xff\xfe HTTP/1.0\r\nHost: {HOST}:{server.server_port}\r\n\r\n".encode("latin-1"))
        assert connection.recv(100).startswith(b"HTTP/1.0 404 ")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD", "OPTIONS"])
def test_nothing_but_reading_is_answered(server: ReportServer, method: str) -> None:
    assert ask(server, f"/{server.token}/", method)[0] == 501


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "localhost.evil.example:{port}", ""])
def test_another_host_name_is_refused(server: ReportServer, host: str) -> None:
    status, body, _ = ask(server, f"/{server.token}/", Host=host.format(port=server.server_port))
    assert (status, body) == (403, b"")


def test_localhost_is_this_machine(server: ReportServer) -> None:
    assert ask(server, f"/{server.token}/", Host=f"localhost:{server.server_port}")[0] == 200


@pytest.mark.parametrize("damage", ["removed", "moved", "damaged"])
def test_a_run_that_is_gone_is_told_in_the_page(
    run: RunDir, tmp_path: Path, clock: Clock, capfd: pytest.CaptureFixture[str], damage: str
) -> None:
    with serving([run], tmp_path, clock) as server:
        before = json.loads(ask(server, f"/{server.token}/version")[1])["version"]
        if damage == "removed":
            shutil.rmtree(run.path)
        elif damage == "moved":
            run.path.rename(tmp_path / "elsewhere")
        else:
            (run.path / "run.json").write_text("{")
        status, body, _ = ask(server, f"/{server.token}/version")
        assert (status, json.loads(body)["version"] != before) == (200, True)
        status, page, _ = ask(server, f"/{server.token}/")
        assert status == 200
        assert (b"a-run is gone: it was moved or removed." in page) == (damage != "damaged")
        assert (b"run.json is damaged" in page) == (damage == "damaged")
    assert capfd.readouterr() == ("", "")


def test_the_page_is_made_again_only_after_a_change(run: RunDir, tmp_path: Path, clock: Clock) -> None:
    with ReportServer([run], tmp_path, clock=clock) as server:
        first = server.page()
        clock.seconds += 3
        assert server.page() is first
        run.note("A note.")
        assert server.page() is not first


def test_a_page_that_takes_long_is_made_seldom(
    run: RunDir, tmp_path: Path, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    took = 4.0

    def slow(page: Page) -> str:
        clock.seconds += took
        return render(page)

    monkeypatch.setattr("onecycle_cli.experiments.report_server.render", slow)
    with ReportServer([run], tmp_path, clock=clock) as server:
        first, state = server.page(), server.state()
        run.note("A note.")
        clock.seconds += 19.9
        # A page with this state would otherwise load itself again at every look.
        assert (server.page() is first, server.state()) == (True, state)
        clock.seconds += 0.2
        took = 0.01
        assert server.state() != state
        second = server.page()
        assert second is not first
        run.note("Another note.")
        clock.seconds += 1.9
        assert server.page() is second
        clock.seconds += 0.2
        assert server.page() is not second


def test_a_port_that_is_in_use_is_told(server: ReportServer, run: RunDir, tmp_path: Path) -> None:
    port = server.server_port
    with pytest.raises(InputError, match=f"Port {port} is in use") as refused:
        ReportServer([run], tmp_path, port)
    assert "--port" in refused.value.fix


def test_the_state_covers_the_files_of_cells_and_not_the_report_itself(run: RunDir) -> None:
    before = state_of([run])
    (run.path / "report.html").write_text("x")
    (run.path / ".lock").write_text("x")
    assert state_of([run]) == before
    inner = run.inner("cell", "")
    after = state_of([run])
    assert after != before
    inner.update(status="finished")
    assert state_of([run]) != after
