"""The root of the command line: it turns every end of a command into a message and an exit code."""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from onecycle_cli.cli.streams import never_refuse_text
from onecycle_cli.errors import OnecycleError, ReportedElsewhere, Terminated, machine_error, printable
from onecycle_cli.training.signals import ENDING, Ending, sent_again

INTERRUPTED = 130


class Root(TyperGroup):
    """The group of all commands. `OnecycleError`s become a message and an exit code; bugs keep their traceback."""

    def main(self, *arguments: Any, **options: Any) -> Any:
        never_refuse_text()
        try:
            return super().main(*arguments, **options)
        except Exception as error:  # before the command, while its words are read, or after it
            machine = machine_error(error)
            if machine is None:
                raise
            sys.exit(_told(machine, error).exit_code)

    def invoke(self, ctx: Any) -> Any:
        with ends():
            return super().invoke(ctx)


@contextmanager
def ends() -> Iterator[None]:
    """Turns errors, interrupts and signals inside the block into a message and `typer.Exit`."""
    ending = Ending()
    before = {number: signal.signal(number, ending) for number in _ending_signals()}
    try:
        with sent_again():
            yield
    except ReportedElsewhere as error:
        raise typer.Exit(error.exit_code) from None
    except OnecycleError as error:
        raise _told(error, error) from None
    except KeyboardInterrupt as end:
        print("\ninterrupted", *_notes(end), sep="\n", file=sys.stderr)
        raise typer.Exit(INTERRUPTED) from None
    except Terminated as end:
        what = "the deadline was reached" if end.number == signal.SIGALRM else "terminated"
        print(what, *_notes(end), sep="\n", file=sys.stderr)
        raise typer.Exit(end.exit_code) from None
    except Exception as error:
        machine = machine_error(error)
        if machine is None:
            raise
        raise _told(machine, error) from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _ending_signals() -> list[signal.Signals]:
    """Returns the signals that end a command, without SIGHUP where nohup ignores it."""
    ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    return [number for number in ENDING if not (ignored and number == signal.SIGHUP)]


def _notes(end: BaseException) -> list[str]:
    """Returns the notes that were added to an exception, such as how to resume."""
    return [printable(text) for text in getattr(end, "__notes__", [])]


def _told(error: OnecycleError, end: Exception) -> typer.Exit:
    try:
        from onecycle_cli.cli.console import show_error, show_note

        show_error(error)
        for text in _notes(end):
            show_note(text)
    except (MemoryError, ImportError):  # there is no memory for the console either
        what, fix = (printable(text, but="\n") for text in (error.what, error.fix))
        print(f"error: {what}", fix, *_notes(end), sep="\n", file=sys.stderr)
    return typer.Exit(error.exit_code)


def _print_version(wanted: bool) -> None:
    if wanted:
        from onecycle_cli import __version__

        print(f"onecycle {__version__}")
        raise typer.Exit


def version(
    show: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Leslie Smith's discipline for hyper-parameters: a learning rate range test, then one cycle."""
