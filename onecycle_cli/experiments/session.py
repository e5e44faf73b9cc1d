"""The session of a run: its folder, its hardware, and the receiver of its progress. Imports no torch by itself."""

import sys
from collections.abc import Callable, Iterator, Mapping
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
from onecycle_cli.run_dir.receivers import must_be_installed
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.run_dir.unwritten import UnwrittenRun
from onecycle_cli.training.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from onecycle_cli.models.own_code import OwnCode
    from onecycle_cli.training.hardware import Hardware

RUNS_DIR = Path("runs")
"""The folder for runs where none is named: `runs` in the working directory."""


@dataclass(frozen=True)
class Session:
    """What every experiment is given: the folder of its run, the hardware, and the receiver of its progress.

    `code` says which code of the user may run; None: none. `ranks` is the place of this process among those that run
    the experiment together; all but rank 0 have a run that they do not write and a report that nobody sees.
    """

    run: RunDir
    hardware: "Hardware"
    report: Report
    code: "OwnCode | None" = None
    ranks: Ranks = ALONE

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


def hardware_of(recipe: Recipe, ranks: Ranks = ALONE) -> "Hardware":
    """Returns the hardware that the recipe's `runtime` section means on this machine. `InputError` if it is missing."""
    from onecycle_cli.training.hardware import resolve_hardware

    return resolve_hardware(recipe.runtime.device, recipe.runtime.precision, ranks)


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
    ranks: Ranks = ALONE,
    **facts: Any,
) -> Session:
    """Makes the folder of a new run in `runs_dir`, named `name` or by the time; `facts` go to its `run.json`.

    Of several `ranks`, the first makes the folder. `InputError` where a run of that name exists, where the recipe's
    device does not, or where its network is code of the user that `code` does not trust.
    """
    _must_be_one_run(command, ranks)
    hardware = _hardware_of_ranks(recipe, code, ranks)
    return session_of_ranks(
        lambda: _created(command, recipe, hardware, ranks, runs_dir, name, facts), hardware, report, code, ranks
    )


def _hardware_of_ranks(recipe: Recipe, code: "OwnCode | None", ranks: Ranks) -> "Hardware":
    def here() -> "Hardware":
        must_be_trusted(recipe, code)
        return hardware_of(recipe, ranks)

    return ranks.together(here)


def _created(
    command: str,
    recipe: Recipe,
    hardware: "Hardware",
    ranks: Ranks,
    runs_dir: str | Path,
    name: str | None,
    facts: Mapping[str, Any],
) -> RunDir:
    """Makes the folder of a new run. `MachineError` if a package is missing that its rows are sent with."""
    must_be_installed(recipe.runtime.log_to)
    own = {"command_line": command_line(sys.argv[1:]), "seed": recipe.seed} | hardware_facts(hardware)
    return RunDir.create(
        Path(runs_dir),
        command=command,
        recipe_name=recipe.name,
        recipe_yaml=to_yaml(recipe),
        facts={**facts, **own, **({"ranks": ranks.count} if ranks.several else {})},
        name=name,
    )


def _must_be_one_run(command: str, ranks: Ranks) -> None:
    """Raises `InputError` where several processes were started together that would each make a run of their own."""
    from onecycle_cli.training.process_group import processes_here

    if not ranks.several and processes_here() > 1:
        raise InputError(
            f"{processes_here()} processes were started together (WORLD_SIZE), and {command} runs in one.",
            "Start it once, without torchrun. Of the commands, train, find-lr, sweep-wd and evaluate run on several.",
        )


def session_of_ranks(
    find: Callable[[], RunDir], hardware: "Hardware", report: Report, code: "OwnCode | None", ranks: Ranks
) -> Session:
    """Returns the session of each rank, in the run that `find` returns on rank 0, the only one that writes it."""
    if not ranks.several:
        return Session(find(), hardware, report, code)

    def found() -> tuple[Path, dict[str, Any]]:
        run = find()
        return run.path, run.facts

    path, facts = ranks.from_first(found)
    if ranks.first:
        return Session(RunDir(path), hardware, report, code, ranks)
    return Session(UnwrittenRun(path, facts), hardware, silent, code, ranks)


def continued_run(
    command: str,
    recipe: Recipe,
    *,
    runs_dir: str | Path = RUNS_DIR,
    name: str,
    report: Report = silent,
    code: "OwnCode | None" = None,
    ranks: Ranks = ALONE,
) -> Session:
    """The run of `command` that is in the folder `name` already; a new run where there is none.

    The run is not marked as running again: another command may be working on it.
    """
    _must_be_one_run(command, ranks)
    hardware = _hardware_of_ranks(recipe, code, ranks)

    def found() -> RunDir:
        run = RunDir(Path(runs_dir) / name)

        def is_there() -> bool:
            return (run.path / RUN).is_file() and run.facts["command"] == command

        if not is_there():
            try:
                return _created(command, recipe, hardware, ranks, runs_dir, name, {})
            except InputError:
                if not is_there():  # else the same command was started twice, and the other one was first
                    raise
        return run

    return session_of_ranks(found, hardware, report, code, ranks)
