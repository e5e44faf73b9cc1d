"""Draws figures: those of a run, and those that `--plot` asks for. Imports matplotlib on first use, and never torch."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from onecycle_cli.errors import OnecycleError, is_out_of_memory
from onecycle_cli.experiments.session import Session
from onecycle_cli.figures import silent
from onecycle_cli.progress import Report
from onecycle_cli.run_dir.writing import write_new, write_whole

Plot = Callable[[Path], str]
"""A function that writes a figure to a path and returns the characters that no font has."""


def draw(session: Session, name: str, plot: Plot) -> None:
    """Draws the figure `name` of a run; of several ranks, the first does. A failure becomes a note, and no error."""
    if not session.ranks.first:
        return
    try:
        remark = _drawn(session.run.path / name, plot, write_whole)
    except Exception as error:
        remark = _failed(session.run.path / name, error)
    if remark:
        session.note(remark)


def draw_file(path: Path, report: Report, plot: Plot) -> None:
    """Draws a figure that `--plot` asks for. `OnecycleError` if drawing fails, `OSError` if writing fails."""
    try:
        remark = _drawn(path, plot, write_new)
    except (OnecycleError, OSError):
        raise
    except Exception as error:
        raise OnecycleError(_failed(path, error), "The other results are not affected.") from error
    if remark:
        report(remark)


def _drawn(path: Path, plot: Plot, write: Callable[[Path, Callable[[Path], object]], None]) -> str | None:
    """Draws a figure, and returns a remark about characters that it shows as escapes, or None."""
    missing: list[str] = []

    def plot_it(beside: Path) -> None:
        with _lack_of_memory_raised():
            missing.append(plot(beside))

    with silent():
        write(path, plot_it)
    (marks,) = missing
    if not marks:
        return None
    shown = ", ".join(f"\\{ascii(mark)[2:-1]}" for mark in marks[:5]) + (", ..." if len(marks) > 5 else "")
    return f"{path} shows some characters as escapes ({shown}): no font that matplotlib finds has them."


@contextmanager
def _lack_of_memory_raised() -> Iterator[None]:
    """Raises a lack of memory that a library would print with a traceback and ignore: matplotlib, reading a font."""
    ignored: list[BaseException] = []
    before = sys.unraisablehook

    def hear(seen: "sys.UnraisableHookArgs") -> None:
        if seen.exc_value is not None and is_out_of_memory(seen.exc_value):
            ignored.append(seen.exc_value)
        else:
            before(seen)

    sys.unraisablehook = hear
    try:
        yield
    finally:
        sys.unraisablehook = before
    if ignored:
        raise ignored[0]


def _failed(path: Path, error: Exception) -> str:
    reason = error.what if isinstance(error, OnecycleError) else str(error) or type(error).__name__
    return f"{path} could not be drawn: {reason}"
