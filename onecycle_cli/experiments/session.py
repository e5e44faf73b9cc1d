"""The session of a run: its folder, its hardware, and the receiver of its progress. Imports no torch by itself."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from onecycle_cli.errors import InputError
from onecycle_cli.experiments.own_code import must_be_trusted
from onecycle_cli.progress import Report, silent
from onecycle_cli.recipe import Recipe, to_yaml
from onecycle_cli.run_dir.facts import command_line
from onecycle_cli.run_dir.files import RUN
from onecycle_cli.run_dir.run import RunDir

if TYPE_CHECKING:
    from onecycle_cli.models.own_code import OwnCode
    from onecycle_cli.training.hardware import Hardware

RUNS_DIR = Path("runs")
"""The folder for runs where none is named: `runs` in the working directory."""


@dataclass(frozen=True)
class Session:
    """What every experiment is given: the folder of its run, the hardware, and the receiver of its progress.

    `code` says which code of the user may run; None: none.
    """

    run: RunDir
    hardware: "Hardware"
    report: Report
    code: "OwnCode | None" = None

    def note(self, text: str) -> None:
        """Tells the person, and keeps the text with the run."""
        self.run.note(text)
        self.report(text)

    def at(self, run: RunDir) -> "Session":
        """The same session in the folder of another run, such as a cell of a sweep."""
        return replace(self, run=run)

    @contextmanager
    def recording(self) -> Iterator[None]:
        """Locks the folder for this process, and keeps in `run.json` how the block ended."""
        with self.run.alone(), self.run.recording():
            yield


def hardware_of(recipe: Recipe) -> "Hardware":
    """Returns the hardware that the recipe's `runtime` section means on this machine. `InputError` if it is missing."""
    from onecycle_cli.training.hardware import resolve_hardware

    return resolve_hardware(recipe.runtime.device, recipe.runtime.precision)


def hardware_facts(hardware: "Hardware") -> dict[str, Any]:
    """Returns the entries of `run.json` on the hardware: device, its name, precision, the number of threads."""
    import torch

    return {
        "device": str(hardware.device),
        "device_name": hardware.name,
        "precision": hardware.precision,
        "threads": torch.get_num_threads(),
    }


def new_run(
    command: str,
    recipe: Recipe,
    *,
    runs_dir: str | Path = RUNS_DIR,
    name: str | None = None,
    report: Report = silent,
    code: "OwnCode | None" = None,
    **facts: Any,
) -> Session:
    """Makes the folder of a new run in `runs_dir`, named `name` or by the time; `facts` go to its `run.json`.

    `InputError` where a run of that name exists, where the recipe's device does not, or where its network is code of
    the user that `code` does not trust.
    """
    must_be_trusted(recipe, code)
    hardware = hardware_of(recipe)
    facts = facts | {"command_line": command_line(sys.argv[1:]), "seed": recipe.seed} | hardware_facts(hardware)
    run = RunDir.create(
        Path(runs_dir),
        command=command,
        recipe_name=recipe.name,
        recipe_yaml=to_yaml(recipe),
        facts=facts,
        name=name,
    )
    return Session(run, hardware, report, code)


def continued_run(
    command: str,
    recipe: Recipe,
    *,
    runs_dir: str | Path = RUNS_DIR,
    name: str,
    report: Report = silent,
    code: "OwnCode | None" = None,
) -> Session:
    """The run of `command` that is in the folder `name` already; a new run where there is none.

    The run is not marked as running again: another command may be working on it.
    """
    must_be_trusted(recipe, code)
    run = RunDir(Path(runs_dir) / name)

    def is_there() -> bool:
        return (run.path / RUN).is_file() and run.facts["command"] == command

    if not is_there():
        try:
            return new_run(command, recipe, runs_dir=runs_dir, name=name, report=report, code=code)
        except InputError:
            if not is_there():  # else the same command was started twice, and the other one was first
                raise
    return Session(run, hardware_of(recipe), report, code)
