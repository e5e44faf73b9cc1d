"""The console: progress, notes and errors go to standard error, results to standard output.

Where standard error is no terminal, progress is a plain line now and then, so that a log file stays readable.
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Sequence
from io import TextIOWrapper
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from rich.console import Console, Group
from rich.constrain import Constrain
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from onecycle_cli.errors import OnecycleError, printable
from onecycle_cli.progress import Progress, duration
from onecycle_cli.run_dir.writing import json_ready

if TYPE_CHECKING:
    from onecycle_cli.figures.terminal import Screen

_BYTES = "".join(map(chr, range(0xDC80, 0xDD00)))
"""The characters that stand for bytes that are not UTF-8. Scripts get these bytes unchanged."""

_PIPED = _BYTES + "\n"

LINE_EVERY_SECONDS = 10.0
"""The time between two plain lines of the same work."""

MANY_ROWS = 1000
"""The number of rows from which a table that needs no folding is laid out without Rich, which takes 3 s for 10,000."""

NOT_A_TERMINAL_WIDTH = 10_000
"""The width for files and pipes, where nothing is cut or wrapped."""


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    terminal = stream.isatty()
    # Rich takes FORCE_COLOR for a terminal; then a log file would be full of bars.
    return Console(
        file=stream,
        force_terminal=terminal,
        width=None if terminal else NOT_A_TERMINAL_WIDTH,
        highlight=False,
        soft_wrap=not terminal,
    )


def is_at_terminal() -> bool:
    """Whether standard output, where results go, is a terminal."""
    return sys.stdout.isatty()


def screen(rows: int) -> "Screen":
    """Returns the room for a curve of `rows` lines on standard output, a terminal, and what it can show."""
    from onecycle_cli.figures.terminal import Screen

    console = _console(stderr=False)
    return Screen(
        console.width,
        rows,
        color=console.color_system is not None and not console.no_color,
        # The fonts of Linux's own console have no braille.
        unicode=console.encoding.startswith("utf") and os.environ.get("TERM") != "linux",
    )


def show_line(text: str | Path) -> None:
    """Prints a bare result, such as a path: unchanged for a script, with escapes on a terminal."""
    print(printable(str(text)) if sys.stdout.isatty() else text)


def show_json(value: Any) -> None:
    """Prints a result as JSON, in ASCII, which every encoding can hold."""
    print(json.dumps(json_ready(value), indent=2, allow_nan=False))


def show_csv(text: str) -> None:
    """Prints a table as CSV: in a file or a pipe always as UTF-8, with escapes on a terminal."""
    if sys.stdout.isatty():
        text = printable(text, but="\n")
    elif isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")
    print(text, end="", flush=True)


def show_error(error: OnecycleError) -> None:
    """Prints what is wrong, and how to fix it."""
    console = _console(stderr=True)
    console.print("error:", printable(error.what, but="\n"), style="red", markup=False)
    console.print(printable(error.fix, but="\n"), markup=False)


def show_note(text: str) -> None:
    """Prints a note to standard error."""
    _console(stderr=True).print(printable(text, but="\n"), markup=False)


def show_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """Prints a result, one name and value per line. On a terminal, long values wrap in their own column."""
    console = _console(stderr=False)
    pairs = list(pairs)
    if not console.is_terminal:
        pairs = [(printable(name, but=_BYTES), printable(value, but=_PIPED)) for name, value in pairs]
        wide = max(len(name) for name, _ in pairs)
        for name, value in pairs:
            print(f"{name:<{wide}}  {value}")
        return
    console.print(_grid(pairs), markup=False)


def rows_left(pairs: Iterable[tuple[str, str]]) -> int:
    """Returns how many lines of a terminal are left below a result, the line of the prompt not counted."""
    console = _console(stderr=False)
    return console.height - 1 - len(console.render_lines(_grid(pairs), pad=False))


def _grid(pairs: Iterable[tuple[str, str]]) -> Table:
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(printable(name), printable(value, but="\n"))
    return grid


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table. In a pipe, columns are separated by two or more spaces, without lines."""
    console = _console(stderr=False)
    if not console.is_terminal:
        print("\n".join(_aligned([list(columns), *([printable(cell, but=_BYTES) for cell in row] for row in rows)])))
        return
    rows = list(rows)
    cells = [[printable(cell) for cell in row] for row in rows]
    if len(cells) >= MANY_ROWS and all(cell.isascii() for row in cells for cell in row):
        lines = _aligned([list(columns), *cells])
        if max(map(len, lines)) <= console.width:
            console.print(lines[0], style="bold", markup=False)
            print("\n".join(lines[1:]))
            return
    console.print(_table(columns, rows), markup=False)


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Table:
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")  # a name that is cut cannot be copied
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    return table


def can_redraw() -> bool:
    """Whether standard output is a terminal on which a line can be written over."""
    return is_at_terminal() and os.environ.get("TERM", "dumb") != "dumb"


class LiveTable:
    """A table on a terminal that is drawn again in the same place; a context manager, at whose end it stays there."""

    def __init__(self, columns: Sequence[str]) -> None:
        self._columns = columns
        self._live = Live(console=_console(stderr=False), auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, rows: Iterable[Sequence[str]], below: str = "") -> None:
        """Draws the table with other rows, and a line below it."""
        drawn = Group(_table(self._columns, rows), *([Text(printable(below))] if below else []))
        # The terminal writes "^C" behind the last character; in a new line, it would shift what is drawn last.
        self._live.update(Constrain(drawn, self._live.console.width - len("^C")), refresh=True)


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    """Returns the lines of a table as text, its columns aligned."""
    widths = [max(map(len, cells)) for cells in zip(*lines, strict=True)]
    return ["  ".join(cell.ljust(wide) for cell, wide in zip(line, widths, strict=True)).rstrip() for line in lines]


def show_wide_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table of many narrow columns; the first column names the rows.

    Where a terminal has no room for all, their names break after `_`; what then still has none follows below, each time
    with the first column beside it.
    """
    rows = list(rows)
    console = _console(stderr=False)
    widths = [_widest([column, *(row[i] for row in rows)]) for i, column in enumerate(columns)]
    if console.is_terminal and sum(widths) + 2 * len(widths) > console.width:
        columns = [column.replace("_", "_\n") for column in columns]
        widths = [_widest([column, *(row[i] for row in rows)]) for i, column in enumerate(columns)]
    for number, part in enumerate(_parts(widths, console.width)):
        if number:
            print()
        show_table([columns[i] for i in part], [[row[i] for i in part] for row in rows])


def _widest(cells: Iterable[str]) -> int:
    return max(len(line) for cell in cells for line in cell.split("\n"))


def _parts(widths: Sequence[int], room: int) -> list[list[int]]:
    """Splits columns into parts that fit into `room` characters, each part with the first column in front."""
    parts = [[0]]
    for column in range(1, len(widths)):
        wide = sum(widths[i] + 2 for i in (*parts[-1], column))
        if wide > room and len(parts[-1]) > 1:
            parts.append([0])
        parts[-1].append(column)
    return parts


class Display:
    """Shows the progress of an experiment. It is a context manager, and the `Report` that an experiment calls."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._console = _console(stderr=True)
        self._bars: Bars | None = None
        self._tasks: dict[str, TaskID] = {}
        self._lines = _Lines()

    def __enter__(self) -> Self:
        if self._console.is_terminal and os.environ.get("TERM", "dumb") != "dumb" and not self._quiet:
            self._bars = Bars(
                TextColumn("{task.description}"),
                BarColumn(bar_width=None),
                MofNCompleteColumn(),
                TextColumn("{task.fields[latest]}"),
                TimeRemainingColumn(compact=True, elapsed_when_finished=True),
                console=self._console,
                expand=True,
                redirect_stdout=sys.stdout.isatty(),  # what goes to a file or a pipe is not for standard error
            )
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bars:
            self._bars.stop()

    def __call__(self, news: Progress | str) -> None:
        if self._quiet:
            return
        if isinstance(news, str):
            self._console.print(printable(news, but="\n"), markup=False)
        elif self._bars:
            self._move(self._bars, news)
        elif line := self._lines.line(news):
            self._console.print(line, markup=False)

    def _move(self, bars: Bars, news: Progress) -> None:
        if news.work not in self._tasks:
            self._tasks[news.work] = bars.add_task(news.work, total=news.total, latest="")
        task = self._tasks[news.work]
        bars.update(task, completed=news.done, total=news.total, latest=_latest(news, self._console.width))
        if news.done == news.total:
            # The bar stays on the screen as it is; the same work done again gets a bar of its own.
            del self._tasks[news.work]


class _Lines:
    """Progress as plain lines: one every `LINE_EVERY_SECONDS`, and the last one."""

    def __init__(self) -> None:
        self._work = ""
        self._started = self._printed = 0.0

    def line(self, news: Progress) -> str | None:
        """Returns the line to print now, or None."""
        now = time.monotonic()
        if news.work != self._work:
            self._work, self._started, self._printed = news.work, now, now
        ended = news.done == news.total
        if not ended and now - self._printed < LINE_EVERY_SECONDS:
            return None
        self._printed = now
        parts = [f"{news.work} {news.done:,}/{news.total:,} {news.unit}", _latest(news, NOT_A_TERMINAL_WIDTH)]
        if ended:
            self._work = ""
        else:
            left = (now - self._started) / news.done * (news.total - news.done)
            parts.append(f"{duration(left)} left")
        return ", ".join(filter(None, parts))


def _latest(news: Progress, width: int) -> str:
    """Formats the latest numbers, as many as fit beside the bar on a screen of `width` columns."""
    parts = []
    if news.loss is not None and width >= 50:
        parts.append(f"loss {news.loss:.3f}")
    if news.lr is not None and width >= 70:
        parts.append(f"lr {news.lr:.2g}")
    if news.images_per_second is not None and width >= 80:
        parts.append(f"{news.images_per_second:,.0f} img/s")
    return " ".join(parts)
