"""`runs pack` and `runs unpack`: runs travel between machines in one file."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from onecycle_cli.cli.options import RUNS_DIR, RunsDirOption

if TYPE_CHECKING:
    from onecycle_cli.run_dir.run import RunDir

ENDINGS = (".tar.gz", ".tgz")


def add_to(app: typer.Typer) -> None:
    """Adds the commands to the group `runs`."""
    app.command(epilog="Example: onecycle runs pack my-run my-sweep for-anna.tar.gz")(pack)
    app.command(epilog="Example: onecycle runs unpack for-anna.tar.gz")(unpack)


def pack(
    words: Annotated[
        list[str],
        typer.Argument(metavar="RUN... FILE.tar.gz", help="Runs or sweeps, and the new file at the end."),
    ],
    runs_dir: RunsDirOption = RUNS_DIR,
) -> None:
    """Pack runs into one file, with a hash of each file in them, to unpack it on another machine.

    The same runs give the same bytes. A running run cannot be packed, links are not followed, and hidden files, such as
    locks, stay out. Images are not part of a run.
    """
    from onecycle_cli.cli.console import show_note, show_pairs
    from onecycle_cli.errors import InputError
    from onecycle_cli.run_dir import packing
    from onecycle_cli.run_dir.at_rest import running_elsewhere
    from onecycle_cli.run_dir.finding import find_run

    *named, last = words
    if not named or not last.endswith(ENDINGS):
        raise InputError(
            f"The new file is missing: '{last}' does not end in {' or '.join(ENDINGS)}.",
            "Name it last: onecycle runs pack RUN... FILE.tar.gz",
        )
    file = Path(last).expanduser()
    runs = [find_run(runs_dir, name) for name in named]
    packed = packing.pack(runs, file)
    for run in runs:
        for inner, host in running_elsewhere(run):
            show_note(f"{inner.path} is running on {host}, or was killed there: it is packed as it was just now.")
    _tell_paths(runs, "Paths that stay as they are, of this machine", missing=False)
    size = file.stat().st_size / 2**20
    show_pairs(
        [("runs", str(len(runs))), ("files", str(len(packed))), ("size", f"{size:,.1f} MiB"), ("file", str(file))]
    )


def unpack(
    file: Annotated[
        Path, typer.Argument(readable=False, metavar="FILE.tar.gz", help="A file that `onecycle runs pack` wrote.")
    ],
    runs_dir: RunsDirOption = RUNS_DIR,
) -> None:
    """Unpack runs that were packed, and check every file of them: all of the runs or, after an error, none.

    A run that exists is never overwritten. The file may come from a stranger: nothing in it is written outside of the
    runs folder, and no code in it runs.
    """
    from onecycle_cli.cli.console import show_line
    from onecycle_cli.run_dir import unpacking

    runs = unpacking.unpack(file.expanduser(), runs_dir)
    for run in runs:
        show_line(run.path)
    _tell_paths(runs, "Paths that do not exist on this machine", missing=True)


def _tell_paths(runs: "Sequence[RunDir]", title: str, *, missing: bool) -> None:
    """Prints a note with the absolute paths that the runs name; only those that do not exist if `missing`."""
    from onecycle_cli.cli.console import show_note
    from onecycle_cli.experiments.run_links import absolute_paths

    links = [link for run in runs for link in absolute_paths(run)]
    told = [f"  {link.run.path}: {link.field} {link.path}" for link in links if not (missing and link.path.exists())]
    if told:
        show_note("\n".join([f"{title}:", *told]))
