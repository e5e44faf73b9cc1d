"""The cells of a sweep: how they are planned, and what their folders say of them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal
from uuid import uuid4

from onecycle_cli import __version__
from onecycle_cli.data.open_data import source_signature
from onecycle_cli.errors import InputError
from onecycle_cli.experiments.own_code import own_code_settings
from onecycle_cli.recipe import Recipe, result_settings, varied
from onecycle_cli.recipe.grid import folder_name
from onecycle_cli.run_dir.run import RunDir

Mode = Literal["range", "train"]

ENDED = ("finished", "diverged", "collapsed")
"""The statuses of a cell that has a result."""

ATTEMPT = "attempt"
"""The name of the attempt's random id in `run.json`, of the sweep and of its cells."""


@dataclass(frozen=True)
class Cell:
    """One run of a sweep.

    `values` maps the dotted names of the fields that vary, and the seed, to their values. `name` is the name of the
    folder. `key` is a hash of everything that the result depends on. `repeats` is the number of range tests, each with
    its own seed.
    """

    name: str
    values: Mapping[str, Any]
    recipe: Recipe
    mode: Mode
    repeats: int
    key: str


def plan_cells(
    recipe: Recipe,
    variations: Sequence[Mapping[str, Any]],
    *,
    mode: Mode,
    precision: str,
    repeats: int,
    source: str,
) -> list[Cell]:
    """Makes and checks a cell for each variation of `recipe`. `source` is the name of the recipe in messages."""
    signatures: dict[object, str] = {}
    cells: list[Cell] = []
    for values in variations:
        one = varied(recipe, values, source)
        images = one.data.images
        if images not in signatures:
            signatures[images] = source_signature(one.data)
        settings = result_settings(one, precision) | own_code_settings(one)
        key = fingerprint(settings | {"mode": mode, "repeats": repeats, "images": signatures[images]})
        name = folder_name(values)
        if any(cell.name == name for cell in cells):
            name = f"{name}-{key}"
        cells.append(Cell(name, values, one, mode, repeats, key))
    return cells


def fingerprint(settings: Mapping[str, Any]) -> str:
    """Hashes settings and the version of onecycle to twelve hexadecimal digits."""
    text = json.dumps({**settings, "onecycle": __version__}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def is_done(cell: Cell, sweep: RunDir) -> bool:
    """Whether nothing is left to do for a cell: it has a result, or it failed in the current attempt of the sweep.

    An attempt is one start of the sweep's command, with all processes that joined it. The next one runs the cells again
    that failed.
    """
    facts = _facts(cell, sweep)
    if facts is None or facts.get("cell") != cell.key:
        return False
    if facts["status"] in ENDED:
        return _summary(cell, sweep) is not None
    return facts["status"] == "failed" and facts.get(ATTEMPT) == sweep.facts.get(ATTEMPT)


def begin_attempt(sweep: RunDir) -> None:
    """Begins a new attempt of a sweep, in which the cells that failed before run again."""
    sweep.update(**{ATTEMPT: uuid4().hex})


def row_of(cell: Cell, sweep: RunDir) -> dict[str, Any] | None:
    """Returns the values, summary, status and error of a cell that has ended; None for any other, or a damaged one."""
    facts = _facts(cell, sweep)
    if facts is None or facts["status"] == "running":
        return None
    summary = _summary(cell, sweep)
    if summary is None:
        return None
    return dict(cell.values) | summary | {"status": facts["status"], "error": facts.get("error")}


def _summary(cell: Cell, sweep: RunDir) -> dict[str, Any] | None:
    """Returns the summary of a cell; None if it is damaged: the cell runs again, beside its old folder."""
    with suppress(InputError):
        return RunDir(sweep.path / cell.name).summary
    return None


def _facts(cell: Cell, sweep: RunDir) -> dict[str, Any] | None:
    """Returns the content of the cell's `run.json`; None if there is none, or another process moves it away now.

    None also if it is damaged: the cell runs again, beside its old folder.
    """
    run = RunDir(sweep.path / cell.name)
    with suppress(FileNotFoundError, InputError):
        return run.facts
    return None
