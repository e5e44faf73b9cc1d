"""How a benchmark runs `onecycle`: as a process of its own, as a person does."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent

WITH_A_RESULT = (0, 3)
"""Exit codes of a command that has a result: 3 is a training that diverged, or ended no better than chance."""


def words_and_options() -> tuple[list[str], list[str]]:
    """The words of this script's command line before `--`, and those behind it, which go to `onecycle` as they are."""
    # argparse alone takes what stands behind `--` for arguments of its own in some versions of Python, not in others.
    end = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    return sys.argv[1:end], sys.argv[end + 1 :]


def run(*words: object, ends: Sequence[int] = WITH_A_RESULT) -> str:
    """What `onecycle` of this checkout prints; ends the benchmark if the exit code is not in `ends`."""
    texts = [str(word) for word in words]
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [sys.executable, "-m", "onecycle_cli", *texts],
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode not in ends:
        sys.exit(f"onecycle {' '.join(texts)} ended with {done.returncode}.")
    return done.stdout


def onecycle(*words: object, ends: Sequence[int] = WITH_A_RESULT) -> dict[str, Any]:
    """What a command prints with --json; nothing where it printed nothing, as `find-lr` without a suggestion."""
    printed = run(*words, "--json", ends=ends)
    return dict(json.loads(printed)) if printed else {}


def told(accuracy: float | None) -> str:
    """An accuracy as a line of progress shows it; a training that diverged has none."""
    return "diverged" if accuracy is None else f"{accuracy:.4f}"
