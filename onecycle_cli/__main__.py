"""The `onecycle` command, also as `python -m onecycle_cli`, from a checkout that was never installed."""

import atexit
import os
import sys
import threading
from contextlib import suppress

from onecycle_cli.errors import MachineError, machine_error


def main() -> None:
    """Runs the command; says so where the machine has not even the memory to load it."""
    try:
        _command()
    except SystemExit as end:
        if end.code != MachineError.exit_code:
            raise
        _leave(MachineError.exit_code)


def _command() -> None:
    try:
        from onecycle_cli.cli import main as command
    except Exception as error:
        machine = machine_error(error)
        if machine is None:
            raise
        print(f"error: While onecycle was loaded: {machine.what}", machine.fix, sep="\n", file=sys.stderr)
        sys.exit(machine.exit_code)
    command()


def _leave(code: int) -> None:
    """Ends this process without unloading libraries: one that got no memory may crash then, as pyarrow's does.

    What Python does before that is done here too: threads that are no daemons end their work, then what is registered.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:  # as where the shell has closed it: `>&-`
            with suppress(OSError, ValueError):
                stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
