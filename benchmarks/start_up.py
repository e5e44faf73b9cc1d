"""Times `onecycle --help` beside the help of a Typer program of two commands: python benchmarks/start_up.py.

Both take turns, as processes of the same Python. Appends the medians to benchmarks/results/start_up.csv.
"""

import argparse
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from rows import append, installed

TWO_COMMANDS = '''
import typer

app = typer.Typer(rich_markup_mode=None)


@app.command()
def one(name: str) -> None:
    """One."""


@app.command()
def two(name: str, count: int = 1) -> None:
    """Two."""


app()
'''


def main() -> None:
    """Runs both in turn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=21)
    repeats = parser.parse_args().repeats
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder, "two_commands.py")
        program.write_text(TWO_COMMANDS)
        commands = {"onecycle": ["-m", "onecycle_cli"], "two_commands": [str(program)]}
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(repeats):
            for name, words in commands.items():
                started = time.perf_counter()
                subprocess.run([sys.executable, *words, "--help"], stdout=subprocess.DEVNULL, check=True)
                seconds[name].append(time.perf_counter() - started)
    medians = {f"{name}_seconds": round(statistics.median(times), 4) for name, times in seconds.items()}
    row: dict[str, object] = {"date": f"{datetime.now(UTC):%Y-%m-%d}", **medians}
    row |= {"repeats": repeats, "python": platform.python_version(), "typer": installed("typer")}
    append("start_up", row)
    print(row)


if __name__ == "__main__":
    main()
