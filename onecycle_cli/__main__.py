"""The `onecycle` command, also as `python -m onecycle_cli`, from a checkout that was never installed."""

import sys

from onecycle_cli.errors import machine_error


def main() -> None:
    """Runs the command; says so where the machine has not even the memory to load it."""
    try:
        from onecycle_cli.cli import main as command
    except Exception as error:
        machine = machine_error(error)
        if machine is None:
            raise
        print(f"error: While onecycle was loaded: {machine.what}", machine.fix, sep="\n", file=sys.stderr)
        sys.exit(machine.exit_code)
    command()


if __name__ == "__main__":
    main()
