"""`runs watch`: follows the runs that are running."""

import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onecycle_cli.cli.options import RUNS_DIR, JsonOption, RunsDirOption
from onecycle_cli.cli.runs_show import told_progress
from onecycle_cli.errors import printable

if TYPE_CHECKING:
    from onecycle_cli.experiments.run_progress import Watch, WatchedRun

EVERY_SECONDS = 1.0
"""The time between two looks at the folder."""

COLUMNS = ("run", "done", "epoch", "loss", "lr", "accuracy", "left", "age")


def add_to(app: typer.Typer) -> None:
    """Adds the command to the group `runs`."""
    app.command(epilog="Example: onecycle runs watch --once")(watch)


def watch(
    once: Annotated[bool, typer.Option("--once", help="Print what is running now, and end.")] = False,
    runs_dir: RunsDirOption = RUNS_DIR,
    as_json: JsonOption = False,
) -> None:
    """Follow all running runs, also those inside sweeps: steps, epoch, loss, lr, accuracy and the time left.

    Runs that end stay in the table, with their status. The age is the time since a run's last row, which has its loss
    and lr. Ctrl-C ends it, with exit code 0. Where standard output is no terminal, each run has a plain line now and
    then. --json prints the same as --once, for scripts. No file is written, and the runs do not notice.
    """
    from onecycle_cli.cli.console import LiveTable, can_redraw, show_json, show_table
    from onecycle_cli.experiments.run_progress import Watch

    watched = Watch(runs_dir)
    if as_json:
        show_json(watched.look())
        return
    if once:
        show_table(COLUMNS, [row(run) for run in watched.look()])
        return
    # Ctrl-C is the only way out, so it is no failure.
    with suppress(KeyboardInterrupt):
        if not can_redraw():
            _follow_in_lines(watched, runs_dir)
        with LiveTable(COLUMNS) as table:
            while True:
                runs = watched.look()
                table.show([row(run) for run in runs], below="" if runs else _nothing(runs_dir))
                time.sleep(EVERY_SECONDS)


def _follow_in_lines(watched: "Watch", runs_dir: Path) -> None:
    from onecycle_cli.cli.console import show_note

    lines = Lines()
    if not watched.look():
        show_note(_nothing(runs_dir))
    while True:
        for line in lines.now(watched.look(), time.monotonic()):
            print(line, flush=True)
        time.sleep(EVERY_SECONDS)


def _nothing(runs_dir: Path) -> str:
    return f"Nothing is running in {runs_dir}."


class Lines:
    """Plain lines about runs: one for each when it is first seen, one now and then, and one when it has ended."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[str, float]] = {}

    def now(self, runs: "Sequence[WatchedRun]", now: float) -> list[str]:
        """Returns the lines to print now, in seconds of any clock."""
        from onecycle_cli.cli.console import LINE_EVERY_SECONDS
        from onecycle_cli.progress import duration

        lines = []
        for run in runs:
            status, when = self._told.get(run.run, (None, 0.0))
            if run.status == status and (status != "running" or now - when < LINE_EVERY_SECONDS):
                continue
            self._told[run.run] = run.status, now
            left = f"{duration(run.seconds_left)} left" if run.seconds_left is not None else ""
            parts = ["" if run.status == "running" else run.status, told_progress(run.progress), left]
            lines.append(f"{printable(run.run)}: {', '.join(filter(None, parts)) or 'preparing'}")
        return lines


def row(run: "WatchedRun") -> list[str]:
    """Returns the cells of a run in the table."""
    progress, running = run.progress, run.status == "running"
    epoch = progress.work or ("preparing" if running else "")
    if progress.epoch is not None:
        epoch = _of(progress.epoch, progress.epochs)
    return [
        run.run,
        "" if progress.done is None else _of(progress.done, progress.total),
        epoch,
        _number(progress.loss, ".4g"),
        _number(progress.lr, ".3g"),
        _number(progress.valid_accuracy, ".4f"),
        short_time(run.seconds_left) if running else run.status,
        short_time(run.age),
    ]


def _of(done: int, total: int | None) -> str:
    return str(done) if total is None else f"{done}/{total}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else f"{value:{form}}"


def short_time(seconds: float | None) -> str:
    """Formats a time for a narrow column: 45s, 3m20s, 2h05m, 3d04h; empty for None."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02}s"
    if whole < 48 * 3600:
        return f"{whole // 3600}h{whole % 3600 // 60:02}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02}h"
