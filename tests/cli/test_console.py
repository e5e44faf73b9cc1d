"""What a person sees, at a terminal and in a log."""

import io
import re
import sys
from collections.abc import Callable

import pytest

from onecycle_cli.cli.console import (
    MANY_ROWS,
    Display,
    show_csv,
    show_error,
    show_note,
    show_pairs,
    show_table,
    show_wide_table,
)
from onecycle_cli.errors import InputError
from onecycle_cli.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Terminal]:
    """Makes of both streams one terminal of 60 columns; called in the test, since pytest sets the streams before it."""
    for name, value in (("COLUMNS", "60"), ("TERM", "xterm"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)

    def switch() -> Terminal:
        stream = Terminal()
        monkeypatch.setattr(sys, "stdout", stream)
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return switch


def steps(done: int, total: int = 100) -> Progress:
    return Progress("training", done, total, "steps", loss=1.2345, lr=0.05, images_per_second=1234.5)


def test_in_a_log_progress_is_a_line_now_and_then_and_one_at_the_end(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    with Display(quiet=False) as report:
        for done in range(1, 101):
            now = float(done)
            report(steps(done))
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "training 11/100 steps, loss 1.234 lr 0.05 1,234 img/s, 1 min 21 s left"
    assert lines[-1] == "training 100/100 steps, loss 1.234 lr 0.05 1,234 img/s"
    assert len(lines) == 10


def test_what_a_file_is_called_is_no_command_to_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(quiet=False) as report:
        report("no image of class 'a\x1b]0;title\x07\x1b[2J'\nnor of \udcff")
    show_error(InputError("\x1b[2Jwhat\nmore", "fix\r\x9b2J"))
    show_note("\x1b[2J")
    told = "no image of class 'a\\x1b]0;title\\x07\\x1b[2J'\nnor of \\xff\n"
    assert capsys.readouterr().err == told + "error: \\x1b[2Jwhat\nmore\nfix\\r\\x9b2J\n\\x1b[2J\n"


def test_nor_in_a_result_at_a_terminal(terminal: Callable[[], Terminal]) -> None:
    stream = terminal()
    show_table(["class"], [["a\x1b[2J"]])
    show_pairs([("class", "b\x1b[2J")])
    assert "a\\x1b[2J" in stream.getvalue()
    assert "b\\x1b[2J" in stream.getvalue()


def test_nor_in_the_name_of_a_result(terminal: Callable[[], Terminal], capsys: pytest.CaptureFixture[str]) -> None:
    show_pairs([("runs/\x1b]0;owned\x07\n", "moved"), ("b", "1")])
    name = "runs/\\x1b]0;owned\\x07\\n"
    assert capsys.readouterr().out == f"{name}  moved\n{'b':<{len(name)}}  1\n"
    stream = terminal()
    show_pairs([("runs/\x1b]0;owned\x07\n\udcff", "moved")])
    assert "runs/\\x1b]0;owned\\x07\\n\\xff" in stream.getvalue()


def test_notes_go_to_standard_error_and_nothing_is_markup(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(quiet=False) as report:
        report("see [bold]data[/bold] in [/tmp]")
    assert capsys.readouterr().err == "see [bold]data[/bold] in [/tmp]\n"


def test_quiet_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Display(quiet=True) as report:
        report("note")
        report(steps(100))
    assert capsys.readouterr() == ("", "")


def test_at_a_terminal_progress_is_a_bar(terminal: Callable[[], Terminal]) -> None:
    screen = terminal()
    with Display(quiet=False) as report:
        report(steps(50))
        report("a note")
        report(steps(100))
        report(steps(1))  # the same work again, as in a sweep
    text = screen.getvalue()
    assert "100/100" in text
    assert "1/100" in text
    assert "a note" in text
    assert "\x1b[" in text


def test_beside_a_bar_results_go_to_the_file_that_was_asked_for(
    terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    screen, file = terminal(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", file)
    with Display(quiet=False) as report:
        report(steps(50))
        show_csv("a,b\n")
    assert file.getvalue() == "a,b\n"
    assert "a,b" not in screen.getvalue()


def test_a_dumb_terminal_gets_no_bar(terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch) -> None:
    screen = terminal()
    for term in ("dumb", None):
        if term:
            monkeypatch.setenv("TERM", term)
        else:
            monkeypatch.delenv("TERM")
        with Display(quiet=False) as report:
            report(steps(100))
    assert "\x1b" not in screen.getvalue()
    assert screen.getvalue().count("training 100/100 steps") == 2


def test_an_error_says_what_and_how_to_fix_it(capsys: pytest.CaptureFixture[str]) -> None:
    show_error(InputError("[x] is wrong", "Fix [it]."))
    assert capsys.readouterr() == ("", "error: [x] is wrong\nFix [it].\n")


def test_in_a_pipe_long_values_are_neither_cut_nor_wrapped(capsys: pytest.CaptureFixture[str]) -> None:
    show_pairs([("a", "x" * 300), ("long name", "[y]")])
    show_table(("one", "two"), [("x" * 300, "1"), ("y", "")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "a          " + "x" * 300,
        "long name  [y]",
        "one" + " " * 299 + "two",
        "x" * 300 + "  1",
        "y",
    ]


def test_at_a_narrow_terminal_long_values_wrap_under_themselves(terminal: Callable[[], Terminal]) -> None:
    screen = terminal()
    show_pairs([("name", "word " * 30)])
    lines = re.sub(r"\x1b\[\d*m", "", screen.getvalue()).rstrip().splitlines()
    assert len(lines) > 2
    assert all(len(line) <= 60 for line in lines)
    assert all(line.startswith("      word") for line in lines[1:])


def test_a_table_at_a_terminal_keeps_its_brackets(terminal: Callable[[], Terminal]) -> None:
    screen = terminal()
    show_table(("name", "value"), [("[a]", "[1]")])
    assert "[a]" in screen.getvalue()


def test_a_name_in_a_table_is_never_cut(terminal: Callable[[], Terminal]) -> None:
    stream = terminal()
    name = "runs/20261122-101010-train-cifar10-resnet56-constant-momentum"
    show_table(("run", "status"), [(name, "finished")])
    assert name in "".join(line.split()[0] for line in stream.getvalue().splitlines())


def test_a_table_of_many_rows_at_a_terminal_is_laid_out_as_one_of_few(terminal: Callable[[], Terminal]) -> None:
    rows = [(f"runs/{number}", "x\x1b" if number == 5 else "[finished]") for number in range(MANY_ROWS)]
    many = terminal()
    show_table(("run", "status"), rows)
    few = terminal()
    show_table(("run", "status"), rows[-10:])
    assert page(many)[0].split() == page(few)[0].split() == ["run", "status"]
    assert page(many)[-10:] == page(few)[-10:]
    assert page(many)[6] == "runs/5    x\\x1b"


def test_a_table_of_many_rows_that_is_too_wide_is_folded_and_not_cut(terminal: Callable[[], Terminal]) -> None:
    stream = terminal()
    show_table(("run", "status"), [("x" * 100, "finished")] * MANY_ROWS)
    assert max(map(len, page(stream))) <= 60
    assert stream.getvalue().count("x") == 100 * MANY_ROWS


WIDE = ("run", "train_accuracy", "valid_accuracy", "seconds")
ROWS = [("first", "0.1234", "0.2345", "10.1"), ("second", "0.3456", "0.4567", "9.9")]


def page(stream: Terminal) -> list[str]:
    return [line.rstrip() for line in re.sub(r"\x1b\[\d*m", "", stream.getvalue()).splitlines()]


def test_a_wide_table_is_whole_where_there_is_room(terminal: Callable[[], Terminal]) -> None:
    stream = terminal()
    show_wide_table(WIDE, ROWS)
    assert page(stream) == [
        "run     train_accuracy  valid_accuracy  seconds",
        "first   0.1234          0.2345          10.1",
        "second  0.3456          0.4567          9.9",
    ]


def test_a_wide_table_breaks_its_names_first_and_then_itself(
    terminal: Callable[[], Terminal], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    stream = terminal()
    show_wide_table(WIDE, ROWS)
    assert page(stream) == [
        "        train_    valid_",
        "run     accuracy  accuracy  seconds",
        "first   0.1234    0.2345    10.1",
        "second  0.3456    0.4567    9.9",
    ]
    monkeypatch.setenv("COLUMNS", "30")
    stream = terminal()
    show_wide_table(WIDE, ROWS)
    assert page(stream) == [
        "        train_    valid_",
        "run     accuracy  accuracy",
        "first   0.1234    0.2345",
        "second  0.3456    0.4567",
        "",
        "run     seconds",
        "first   10.1",
        "second  9.9",
    ]


def test_a_wide_table_in_a_pipe_is_a_table_like_any_other(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [("x" * 300, "1", "2", "3")]
    show_wide_table(WIDE, rows)
    wide = capsys.readouterr().out
    show_table(WIDE, rows)
    assert capsys.readouterr().out == wide


def test_a_wish_for_colour_makes_no_terminal_of_a_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    with Display(quiet=False) as report:
        report(steps(100))
    show_pairs([("max_lr", "0.1")])
    show_error(InputError("Wrong.", "Fix it."))
    out, err = capsys.readouterr()
    assert out == "max_lr  0.1\n"
    assert err.splitlines() == ["training 100/100 steps, loss 1.234 lr 0.05 1,234 img/s", "error: Wrong.", "Fix it."]
