"""Drawing the figures of a run, and those that a person asks for. Imports no torch, and matplotlib when it draws."""

from collections.abc import Callable
from pathlib import Path

from onecycle_cli.errors import OnecycleError
from onecycle_cli.experiments.session import Session
from onecycle_cli.figures import silent
from onecycle_cli.progress import Report
from onecycle_cli.run_dir.writing import write_whole

Plot = Callable[[Path], str]
"""Writes a figure to a path; returns the characters that no font has."""


def draw(session: Session, name: str, plot: Plot) -> None:
    """Draws the figure `name` of a run. One that fails costs a note, kept with the run, and never the result."""
    try:
        remark = _drawn(session.run.path / name, plot)
    except Exception as error:
        remark = _failed(session.run.path / name, error)
    if remark:
        session.note(remark)


def draw_file(path: Path, report: Report, plot: Plot) -> None:
    """Draws a figure that a person asked for; `OnecycleError` where that fails, `OSError` where the disk refuses."""
    try:
        remark = _drawn(path, plot)
    except (OnecycleError, OSError):
        raise
    except Exception as error:
        raise OnecycleError(_failed(path, error), "The other results are not affected.") from error
    if remark:
        report(remark)


def _drawn(path: Path, plot: Plot) -> str | None:
    """Draws, and says what the figure lacks, if anything."""
    missing: list[str] = []
    with silent():
        write_whole(path, lambda beside: missing.append(plot(beside)))
    (marks,) = missing
    if not marks:
        return None
    shown = ", ".join(f"\\{ascii(mark)[2:-1]}" for mark in marks[:5]) + (", ..." if len(marks) > 5 else "")
    return f"{path} shows some characters as escapes ({shown}): no font that matplotlib finds has them."


def _failed(path: Path, error: Exception) -> str:
    reason = error.what if isinstance(error, OnecycleError) else str(error) or type(error).__name__
    return f"{path} could not be drawn: {reason}"
