"""`report` as a person runs it."""

import json
import signal
import socket
import subprocess
import sys
import threading
import urllib.request
import webbrowser
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import Result

Command = Callable[..., Result]


def test_the_page_of_a_run_is_written_and_told(onecycle: Command, trained: str) -> None:
    result = onecycle("report", trained, "no-run")
    assert result.exit_code == 0, result.output
    lines = [line.split(maxsplit=1) for line in result.stdout.splitlines()]
    assert lines[0] == ["report", f"runs/{trained}/report.html"]
    assert lines[1][0] == "size"
    assert "Left out: runs/no-run is not a run" in result.stderr
    assert Path(lines[0][1]).read_text().startswith("<!doctype html>")


def test_the_page_goes_to_a_new_file_and_is_opened(
    onecycle: Command, trained: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []

    def no_browser(address: str) -> bool:
        opened.append(address)
        return False

    monkeypatch.setattr(webbrowser, "open", no_browser)
    result = onecycle("report", trained, "--output", "mine.html", "--open")
    assert result.exit_code == 0, result.output
    assert opened == [(tmp_path / "mine.html").as_uri()]
    assert "No browser could be opened." in result.stderr
    again = onecycle("report", trained, "--output", "mine.html")
    assert (again.exit_code, "mine.html exists already." in again.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("missing",), "runs/missing is not a run"),
        (("missing", "--live"), "runs/missing is not a run"),
        (("x", "--live", "--output", "x.html"), "two ways"),
        (("x", "--port", "80"), "--port is of --live"),
        (("x", "--output", "no/such/folder/x.html"), "There is no folder"),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(onecycle: Command, words: tuple[str, ...], said: str) -> None:
    result = onecycle("report", *words)
    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.parametrize(("package", "told"), [("jinja2", "jinja2"), ("vl_convert", "vl-convert-python")])
def test_missing_packages_are_named(
    onecycle: Command, trained: str, monkeypatch: pytest.MonkeyPatch, package: str, told: str
) -> None:
    from onecycle_cli.figures.report.page import charts_script

    charts_script.cache_clear()
    monkeypatch.setitem(sys.modules, package, None)
    result = onecycle("report", trained)
    assert result.exit_code == 5
    assert f"A report needs {told}, which cannot be imported." in result.stderr
    assert "pip install 'onecycle-cli[report]'" in result.stderr
    assert not Path("runs", trained, "report.html").exists()


def test_a_live_report_serves_until_ctrl_c(trained: str) -> None:
    command = [sys.executable, "-m", "onecycle_cli", "report", trained, "--live"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    timer = threading.Timer(120, process.kill)
    timer.start()
    try:
        assert process.stdout is not None
        address = (process.stdout.readline().split() or [process.communicate()[1]])[-1]
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(f"{address}version") as answer:
            assert json.load(answer)["version"]
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
    finally:
        timer.cancel()
        process.kill()
    assert (process.returncode, said) == (0, "")


def test_a_port_that_is_in_use_is_refused_with_a_reason(onecycle: Command, trained: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        result = onecycle("report", trained, "--live", "--port", taken.getsockname()[1])
    assert result.exit_code == 2
    assert "is in use" in result.stderr
