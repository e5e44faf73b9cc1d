"""`runs label` and `runs note`: what a person writes about a run."""

from typing import Annotated

import typer

from onecycle_cli.cli.options import RUNS_DIR, RunArgument, RunsDirOption


def add_to(app: typer.Typer) -> None:
    """Adds the commands to the group `runs`."""
    app.command(epilog="Example: onecycle runs label my-run baseline paper")(label)
    app.command(epilog='Example: onecycle runs note my-run "The second GPU was busy: do not trust the speed."')(note)


def label(
    run: RunArgument,
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="Labels: short words, without commas.")],
    remove: Annotated[bool, typer.Option("--remove", help="Remove these labels instead.")] = False,
    runs_dir: RunsDirOption = RUNS_DIR,
) -> None:
    """Add labels to a run, by which `onecycle runs --label` finds it. A running run can be labelled too."""
    from onecycle_cli.cli.console import show_pairs
    from onecycle_cli.run_dir.annotations import add_labels, remove_labels
    from onecycle_cli.run_dir.finding import find_run

    found = find_run(runs_dir, run)
    known = (remove_labels if remove else add_labels)(found, texts)
    show_pairs([("run", str(found.path)), ("labels", ", ".join(known.labels))])


def note(
    run: RunArgument,
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The note; in quotes if it has several words.")],
    runs_dir: RunsDirOption = RUNS_DIR,
) -> None:
    """Add a note to a run, with the time. Earlier notes stay; the last line that is printed is the new one."""
    from onecycle_cli.cli.console import show_pairs
    from onecycle_cli.run_dir.annotations import add_note
    from onecycle_cli.run_dir.finding import find_run

    found = find_run(runs_dir, run)
    notes = add_note(found, text).notes
    show_pairs([("run", str(found.path)), *((one.written, one.text) for one in notes)])
