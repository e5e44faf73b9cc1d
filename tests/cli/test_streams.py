"""Standard streams of any encoding."""

import io
import subprocess
import sys
from pathlib import Path

import pytest

from onecycle_cli.cli.console import Display, show_csv, show_error, show_line, show_note, show_pairs, show_table
from onecycle_cli.cli.streams import never_refuse_text
from onecycle_cli.errors import InputError
from onecycle_cli.progress import Progress

NAMES = ("caf\xe9", "中文", "😀", "\udcff", "\x1b[2J")


class Stream(io.TextIOWrapper):
    """A standard stream, of a terminal or a pipe, that keeps its bytes."""

    def __init__(self, encoding: str, terminal: bool) -> None:
        self.bytes = io.BytesIO()
        super().__init__(self.bytes, encoding=encoding, write_through=True)
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal

    def written(self) -> bytes:
        self.flush()
        return self.bytes.getvalue()


def streams(monkeypatch: pytest.MonkeyPatch, encoding: str, *, terminal: bool) -> tuple[Stream, Stream]:
    monkeypatch.setenv("TERM", "xterm")
    out, err = Stream(encoding, terminal), Stream(encoding, terminal)
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    never_refuse_text()
    return out, err


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp1252"])
def test_any_name_can_be_shown_in_any_encoding(monkeypatch: pytest.MonkeyPatch, encoding: str, terminal: bool) -> None:
    out, err = streams(monkeypatch, encoding, terminal=terminal)
    for name in NAMES:
        show_table(("class", "±"), [(name, "1")])
        show_pairs([("run", name)])
        show_line(name)
        show_note(name)
        show_error(InputError(name, name))
        with Display(quiet=False) as report:
            report(name)
            report(Progress("decoding", 1, 1, "images"))
    assert out.written().count(b"\\u4e2d\\u6587") == (0 if encoding == "utf-8" else 3)
    assert b"\xb1" in out.written() if encoding != "ascii" else b"\\xb1" in out.written()
    assert b"2J" in err.written()
    assert b"\x1b[2J" not in err.written()


def test_a_script_gets_the_bytes_of_a_path_and_a_terminal_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    out, _ = streams(monkeypatch, "ascii", terminal=False)
    show_line("runs/\udcff中")
    assert out.written() == b"runs/\xff\\u4e2d\n"
    out, _ = streams(monkeypatch, "utf-8", terminal=True)
    show_line("runs/\udcff中\x1b[2J")
    assert out.written() == "runs/\\xff中\\x1b[2J\n".encode()


def test_csv_in_a_pipe_is_utf8_and_a_row_of_a_table_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    out, _ = streams(monkeypatch, "latin-1", terminal=False)
    show_csv("中\n")
    assert out.written() == "中\n".encode()
    out, _ = streams(monkeypatch, "latin-1", terminal=False)
    show_table(("class", "images"), [("a\nb\r", "1")])
    assert out.written() == b"class   images\na\\nb\\r  1\n"


LEAVING = """
import sys, threading, time
from onecycle_cli.__main__ import _leave
sys.stdout.close()
threading.Thread(target=lambda: (time.sleep(0.2), open("work", "w").close())).start()
_leave(5)
"""


def test_a_stream_that_is_closed_leaves_the_exit_code_and_threads_end_their_work(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", LEAVING], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (5, "")
    assert (tmp_path / "work").exists()


def test_streams_that_the_shell_has_closed_leave_the_exit_code() -> None:
    asked = ["sh", "-c", 'exec "$0" -m onecycle_cli schedule nothing <&- >&- 2>&-', sys.executable]
    assert subprocess.run(asked, check=False).returncode == 2


def test_what_a_library_prints_to_a_closed_stream_goes_nowhere(tmp_path: Path) -> None:
    printing = "import os; from onecycle_cli import __main__ as m; m._open_what_is_closed(); f = open('a', 'w')"
    asked = [
        "sh",
        "-c",
        'exec "$0" -c "$1" >&- 2>&-',
        sys.executable,
        f"{printing}; os.write(1, b'x'); os.write(2, b'x')",
    ]
    subprocess.run(asked, cwd=tmp_path, check=True)
    assert (tmp_path / "a").read_text() == ""
