"""`python -m onecycle_cli`: the same command, also from a checkout that was never installed."""

from onecycle_cli.cli import main

if __name__ == "__main__":
    main()
