"""`report`: writes one HTML page about runs, or serves it while they go on."""

import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated

import typer

from onecycle_cli.cli.options import RUNS_DIR, RunsArgument, RunsDirOption


def add_to(app: typer.Typer) -> None:
    """Adds the command to the root."""
    app.command("report", epilog="Example: onecycle report my-find-lr-run my-run --output report.html")(report)


def report(
    named: RunsArgument,
    output: Annotated[
        Path | None, typer.Option("--output", readable=False, metavar="FILE", help="Write the page to this new file.")
    ] = None,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    live: Annotated[
        bool, typer.Option("--live", help="Serve the page on this machine, up to date with its runs, until Ctrl-C.")
    ] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The port of --live; 0 is any free one.")] = 0,
    runs_dir: RunsDirOption = RUNS_DIR,
) -> None:
    """Write a report of runs as one HTML file that needs no network: figures, tables, wrong predictions, commands.

    A sweep has one section with all its cells, and an unfinished run its results so far. Without --output, the page of
    one run is report.html in its folder, and a page of several is in the runs folder. It needs the extra "report":
    pip install 'onecycle-cli[report]'.
    """
    from onecycle_cli.cli.console import show_note, show_pairs
    from onecycle_cli.errors import InputError
    from onecycle_cli.experiments.report import write_report

    if live and output is not None:
        raise InputError("--live and --output are two ways to get a report.", "Leave one of them out.")
    if port and not live:
        raise InputError("--port is of --live.", "Add --live, or leave --port out.")
    if live:
        _serve(named, runs_dir, port, show=show)
        return
    written = write_report(named, runs_dir=runs_dir, output=output)
    for reason in written.left_out:
        show_note(f"Left out: {reason}")
    show_pairs([("report", str(written.path)), ("size", f"{written.size / 1e6:.1f} MB")])
    if show:
        _open(written.path.absolute().as_uri())


def _serve(named: list[str], runs_dir: Path, port: int, *, show: bool) -> None:
    from onecycle_cli.cli.console import show_note, show_pairs
    from onecycle_cli.experiments.report import found_runs
    from onecycle_cli.experiments.report_server import ReportServer

    runs, left_out = found_runs(named, runs_dir)
    for reason in left_out:
        show_note(f"Left out: {reason}")
    with ReportServer(runs, runs_dir, port) as server:
        server.page()  # an error of it belongs on the terminal
        # Ctrl-C is the only way out, so it is no failure.
        with suppress(KeyboardInterrupt):
            show_pairs([("report", server.address), ("ends", "with Ctrl-C")])
            sys.stdout.flush()  # a script that reads it waits for the address
            if show:
                _open(server.address)
            server.serve_forever()


def _open(address: str) -> None:
    import webbrowser

    from onecycle_cli.cli.console import show_note

    if not webbrowser.open(address):
        show_note("No browser could be opened.")
