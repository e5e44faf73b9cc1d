"""The `onecycle` command, also as `python -m onecycle_cli`, from a checkout that was never installed."""

import atexit
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

from onecycle_cli.errors import MachineError, machine_error


def main() -> None:
    """Runs the command; says so where the machine has not even the memory to load it."""
    _open_what_is_closed()
    try:
        _command()
    except SystemExit as end:
        if end.code != MachineError.exit_code:
            raise
        _leave(MachineError.exit_code)


def _open_what_is_closed() -> None:
    """Opens to nowhere the standard streams that the shell has closed, as `>&-` does, and gives them their numbers.

    Python has None in their place. The next file to be opened would get such a number, and what libraries print.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode, encoding="utf-8")  # noqa: SIM115  open to the end
            os.set_inheritable(stream.fileno(), True)
            setattr(sys, name, stream)


def _command() -> None:
    try:
        from onecycle_cli.cli import main as command

        command()
    except Exception as error:  # of the imports, or of building all commands: a command tells its own
        machine = machine_error(error)
        if machine is None:
            raise
        print(f"error: While onecycle was loaded: {machine.what}", machine.fix, sep="\n", file=sys.stderr)
        sys.exit(machine.exit_code)


def _leave(code: int) -> None:
    """Ends this process without unloading libraries: one that got no memory may crash then, as pyarrow's does.

    What Python does before that is done here too: threads that are no daemons end their work, then what is registered.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
