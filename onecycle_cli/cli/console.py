"""What a person sees: progress, notes and errors on standard error, results on standard output.

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
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars
from rich.table import Table

from onecycle_cli.errors import OnecycleError, printable
from onecycle_cli.progress import Progress
from onecycle_cli.run_dir.writing import json_ready

_BYTES = "".join(map(chr, range(0xDC80, 0xDD00)))
"""Bytes that are no UTF-8, which a script gets as they are."""

_PIPED = _BYTES + "\n"

LINE_EVERY_SECONDS = 10.0
"""Between two plain lines of the same work."""

NOT_A_TERMINAL_WIDTH = 10_000
"""Nothing is cut or wrapped in a file or a pipe."""


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


def show_line(text: str | Path) -> None:
    """A bare result, such as a path: as it is for a script, as it can be shown on a terminal."""
    print(printable(str(text)) if sys.stdout.isatty() else text)


def show_json(value: Any) -> None:
    """A result as JSON, in ASCII alone, so that every encoding can hold it."""
    print(json.dumps(json_ready(value), indent=2, allow_nan=False))


def show_csv(text: str) -> None:
    """A table as CSV, which is UTF-8 whatever the encoding of standard output; not on a terminal."""
    if isinstance(sys.stdout, TextIOWrapper) and not sys.stdout.isatty():
        sys.stdout.reconfigure(encoding="utf-8")
    print(text, end="")


def show_error(error: OnecycleError) -> None:
    """What is wrong, and how to fix it."""
    console = _console(stderr=True)
    console.print("error:", printable(error.what, but="\n"), style="red", markup=False)
    console.print(printable(error.fix, but="\n"), markup=False)


def show_note(text: str) -> None:
    """What a person should know before the work begins."""
    _console(stderr=True).print(printable(text, but="\n"), markup=False)


def show_pairs(pairs: Iterable[tuple[str, str]]) -> None:
    """A result, one name and value a line; long values wrap under themselves on a terminal."""
    console = _console(stderr=False)
    pairs = list(pairs)
    if not console.is_terminal:
        wide = max(len(name) for name, _ in pairs)
        for name, value in pairs:
            print(f"{name:<{wide}}  {printable(value, but=_PIPED)}")
        return
    grid = Table.grid(padding=(0, 2))
    grid.add_column(no_wrap=True, style="bold")
    grid.add_column(overflow="fold")
    for name, value in pairs:
        grid.add_row(name, printable(value, but="\n"))
    console.print(grid, markup=False)


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table; in a pipe, columns are separated by two blanks or more, without rules."""
    console = _console(stderr=False)
    if not console.is_terminal:
        lines = [list(columns), *([printable(cell, but=_BYTES) for cell in row] for row in rows)]
        widths = [max(len(line[i]) for line in lines) for i in range(len(columns))]
        for line in lines:
            print("  ".join(cell.ljust(wide) for cell, wide in zip(line, widths, strict=True)).rstrip())
        return
    table = Table(box=None, header_style="bold", padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold")  # a name that is cut cannot be copied
    for row in rows:
        table.add_row(*map(printable, row))
    console.print(table, markup=False)


def show_wide_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A table of many narrow columns, whose first one names the rows.

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
    """Which columns stand side by side in `room`: as many as fit beside the first one, two blanks after each."""
    parts = [[0]]
    for column in range(1, len(widths)):
        wide = sum(widths[i] + 2 for i in (*parts[-1], column))
        if wide > room and len(parts[-1]) > 1:
            parts.append([0])
        parts[-1].append(column)
    return parts


class Display:
    """Shows what an experiment reports while it runs; a context manager, and the `Report` to hand in."""

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
    """Progress as plain lines: the first after a while, then now and then, and the last one."""

    def __init__(self) -> None:
        self._work = ""
        self._started = self._printed = 0.0

    def line(self, news: Progress) -> str | None:
        """The line to print now, if any."""
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
    """The latest numbers, as many as there is room for beside the bar on a screen of `width` columns."""
    parts = []
    if news.loss is not None and width >= 50:
        parts.append(f"loss {news.loss:.3f}")
    if news.lr is not None and width >= 70:
        parts.append(f"lr {news.lr:.2g}")
    if news.images_per_second is not None and width >= 80:
        parts.append(f"{news.images_per_second:,.0f} img/s")
    return " ".join(parts)


def duration(seconds: float) -> str:
    """Seconds as a person says them: 45 s, 3 min 20 s, 2 h 5 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
