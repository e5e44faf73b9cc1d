"""What a run names by its path: other runs, images, files. Moving or removing them breaks these names."""

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from onecycle_cli.errors import InputError
from onecycle_cli.recipe import dotted_values
from onecycle_cli.run_dir.files import RECIPE
from onecycle_cli.run_dir.finding import all_runs
from onecycle_cli.run_dir.run import RunDir

RUN_FACTS = ("max_lr_from", "trained_run")
"""The entries of `run.json` that hold the path of another run: of train --max-lr-from and of evaluate."""

RUN_FIELDS = ("model.init", "model.weights")
"""The fields of a recipe that may hold the path of a run or of a file in one."""

PATH_FIELDS = ("data.path", *RUN_FIELDS, "model.function")

HAS_RUN_FIELD = re.compile(r"^ +(?:init|weights): ", re.MULTILINE)
"""What a recipe contains that may name a run. To parse 10,000 recipes takes a minute, to search them a second."""


@dataclass(frozen=True)
class Link:
    """A path that a run names: in which field of its recipe or of its `run.json`."""

    run: RunDir
    field: str
    path: Path


def links_to(targets: Sequence[RunDir]) -> list[Link]:
    """Returns what names one of the runs `targets`, or a file in it, among the runs beside them.

    What `targets` name themselves is left out: they may name one another.
    """
    folders = [run.path.resolve() for run in targets]
    found = []
    for runs_dir in dict.fromkeys(folder.parent for folder in folders):
        for outer in all_runs(runs_dir):
            if outer.path.resolve() not in folders:
                named = [link for run in (outer, *all_runs(outer.path)) for link in links_of(run)]
                found += [link for link in named if any(_is_in(link.path, folder) for folder in folders)]
    return found


def links_of(run: RunDir) -> Iterator[Link]:
    """Yields the runs and files of runs that a run names. A damaged file names nothing."""
    with suppress(InputError):
        facts = run.facts
        yield from (Link(run, name, Path(facts[name])) for name in RUN_FACTS if isinstance(facts.get(name), str))
    with suppress(OSError, ValueError):
        if HAS_RUN_FIELD.search((run.path / RECIPE).read_text(encoding="utf-8")):
            yield from _recipe_paths(run, RUN_FIELDS)


def absolute_paths(run: RunDir) -> list[Link]:
    """Returns the absolute paths outside of a run that it and the runs inside it name, the same one once."""
    found = []
    for one in (run, *all_runs(run.path)):
        named = [*(link for link in links_of(one) if link.field in RUN_FACTS), *_recipe_paths(one, PATH_FIELDS)]
        found += [Link(run, link.field, link.path) for link in named if link.path.is_absolute()]
    return list(dict.fromkeys(found))


def _recipe_paths(run: RunDir, fields: Sequence[str]) -> Iterator[Link]:
    with suppress(InputError, OSError):
        values = dotted_values(run.path / RECIPE)
        for field in fields:
            if isinstance(value := values.get(field), str):
                path, _, _ = value.rpartition(":") if field == "model.function" else (value, "", "")
                yield Link(run, field, Path(path))


def _is_in(path: Path, folder: Path) -> bool:
    """Whether a path means the run in `folder` or a file in it: also by its name, if nothing is at that path now.

    Older versions wrote paths that were relative to where the command ran.
    """
    if not path.exists():
        return folder.name in path.parts[-3:]
    resolved = path.resolve()
    return resolved == folder or folder in resolved.parents
