"""`runs remove`, `runs restore` and `runs trash`: runs go to a trash folder, and come back or are deleted for good."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onecycle_cli.cli.options import RUNS_DIR, JsonOption, RunsArgument, RunsDirOption

if TYPE_CHECKING:
    from onecycle_cli.run_dir.run import RunDir
    from onecycle_cli.run_dir.trash import RemovedRun

MOST_NAMED = 10
"""The most runs that a message lists; a base model may have a hundred that start from it."""


def add_to(app: typer.Typer) -> None:
    """Adds the commands to the group `runs`."""
    app.command(epilog="Example: onecycle runs remove first-try second-try")(remove)
    app.command(epilog="Example: onecycle runs restore first-try")(restore)
    app.command(epilog="Example: onecycle runs trash --empty")(trash)


def remove(
    named: RunsArgument,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also runs that others name, and runs that were killed on another machine while running."
        ),
    ] = False,
    runs_dir: RunsDirOption = RUNS_DIR,
) -> None:
    """Move runs to the trash, from which `onecycle runs restore` brings them back.

    A running run is never removed. A run whose model or max_lr another run was made with (--init, --max-lr-from,
    evaluate) needs --force. All runs are checked before the first one moves. The space on the disk is free only when
    `onecycle runs trash --empty` has deleted them.
    """
    from onecycle_cli.cli.console import show_note, show_pairs
    from onecycle_cli.errors import InputError
    from onecycle_cli.run_dir.finding import find_run
    from onecycle_cli.run_dir.trash import move_to_trash, must_be_removable, place_of

    runs = list({place_of(found): found for found in (find_run(runs_dir, name) for name in named)}.values())
    for run in runs:
        must_be_removable(run, elsewhere_ended=force)
    if naming := _naming(runs):
        if not force:
            raise InputError(f"Other runs name what would be removed:\n{naming}", "Remove these too, or give --force.")
        show_note(f"These runs name what is removed:\n{naming}")
    moved: list[RemovedRun] = []
    try:
        for run in runs:
            moved.append(move_to_trash(run, elsewhere_ended=force))
            show_pairs([(str(run.path), f"moved to {moved[-1].path}")])
    finally:
        for folder in dict.fromkeys(one.path.parent.parent for one in moved):
            show_note(f"To undo it: {_restoring([one for one in moved if one.path.parent.parent == folder], folder)}")


def restore(
    names: Annotated[list[str], typer.Argument(metavar="NAME...", help="Names of runs in the trash.")],
    runs_dir: RunsDirOption = RUNS_DIR,
) -> None:
    """Move runs from the trash back to where they were. A run that exists now is never overwritten."""
    from onecycle_cli.cli.console import show_line
    from onecycle_cli.run_dir import trash

    for run in trash.restore(runs_dir, names):
        show_line(run.path)


def trash(
    empty: Annotated[bool, typer.Option("--empty", help="Delete all removed runs in the trash for good.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first, for scripts.")] = False,
    runs_dir: RunsDirOption = RUNS_DIR,
    as_json: JsonOption = False,
) -> None:
    """List the removed runs with their size, or delete them for good with --empty.

    Only what `onecycle runs remove` moved there is listed and deleted; other files in the trash stay.
    """
    from onecycle_cli.cli.console import show_json, show_note, show_table
    from onecycle_cli.errors import InputError
    from onecycle_cli.run_dir.trash import bytes_in, delete_for_good, delete_rests, removed_runs

    if yes and not empty:
        raise InputError("--yes has an effect only with --empty.", "Add --empty, or leave --yes out.")
    removed = removed_runs(runs_dir)
    sizes = [bytes_in(one.path) for one in removed]
    if empty:
        if removed and not yes:
            _must_agree(f"Delete {_count(removed)}, {_mebibytes(sum(sizes))}, for good?")
        delete_for_good(removed)
        delete_rests(runs_dir)
        show_note(f"Deleted {_count(removed)}, {_mebibytes(sum(sizes))}.")
    elif as_json:
        show_json(
            [
                {"name": one.name, "removed": one.removed.isoformat(), "bytes": size, "path": str(one.path)}
                for one, size in zip(removed, sizes, strict=True)
            ]
        )
    else:
        rows = [
            (one.path.name, one.name, f"{one.removed.astimezone():%Y-%m-%d %H:%M}", _mebibytes(size))
            for one, size in zip(removed, sizes, strict=True)
        ]
        show_table(("in the trash as", "run", "removed", "size"), rows)


def _naming(runs: "Sequence[RunDir]") -> str:
    """Returns a line for each run that names one of `runs`: in which field, and which one; "" if there is none."""
    from onecycle_cli.experiments.run_links import links_to

    lines = [f"  {link.run.path}: {link.field} {link.path}" for link in links_to(runs)]
    more = [f"  and {len(lines) - MOST_NAMED} more"] if len(lines) > MOST_NAMED else []
    return "\n".join([*lines[:MOST_NAMED], *more])


def _restoring(moved: "Sequence[RemovedRun]", folder: Path) -> str:
    """Returns the command that undoes a removal from `folder`."""
    from onecycle_cli.run_dir.facts import command_line

    where = [] if folder == RUNS_DIR.absolute() else ["--runs-dir", str(folder)]
    return command_line(["runs", "restore", *(one.path.name for one in moved), *where])


def _must_agree(question: str) -> None:
    """Asks a person at the terminal; `InputError` where there is none, or for any answer but yes."""
    from onecycle_cli.errors import InputError

    if not sys.stdin.isatty():
        raise InputError("Deleting needs a confirmation, and there is no terminal to ask at.", "Add --yes.")
    if not typer.confirm(question, err=True):
        raise InputError("Nothing was deleted.", "Answer y, or add --yes.")


def _count(removed: "Sequence[RemovedRun]") -> str:
    return f"{len(removed):,} {'run' if len(removed) == 1 else 'runs'}"


def _mebibytes(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"
