"""Run comparison: the settings that differ, names for the runs, and means of results over seeds. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from onecycle_cli.recipe import as_written
from onecycle_cli.recipe.grid import column_names

WITHOUT_EFFECT = ("name", "description", "data.mirrors", "runtime.log_every", "runtime.log_to", "runtime.save_best")
"""Recipe fields that do not change any result."""

NOT_USED = {
    "train": ("find_lr.", "sweep_wd."),
    "find-lr": ("schedule.max_lr", "sweep_wd."),
}
"""Recipe fields, or prefixes of field names, that each command ignores.

`train` keeps `schedule.max_lr`: a training run with an automatic max_lr has the number it found in its recipe.
"""

ENDED = ("finished", "collapsed")
"""The statuses of runs that reached their last step, so that their results can be averaged."""

AVERAGED = {
    "train": ("valid_loss", "valid_accuracy", "test_loss", "test_accuracy"),
    "find-lr": ("max_lr",),
}
"""The results of each command that are averaged over seeds."""

SEED = "seed"


@dataclass(frozen=True)
class Run:
    """A run to compare: its folder, its settings by dotted name, and its results so far.

    A range test inside a sweep has the command "find-lr". `results` holds numbers and text by their names in the
    summary; None for a result that does not exist (yet).
    """

    path: str
    command: str
    status: str
    settings: Mapping[str, Any]
    results: Mapping[str, Any]


def settings_of(command: str, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the recipe fields, by dotted name, that have an effect on a run of `command`."""
    return {field: value for field, value in recipe.items() if _goes_by(command, field)}


def _goes_by(command: str, field: str) -> bool:
    return field not in WITHOUT_EFFECT and not field.startswith(NOT_USED.get(command, NOT_USED["train"]))


def differing(runs: Sequence[Run]) -> list[str]:
    """Returns the settings that differ between the runs they affect, in recipe order, with the seed last.

    If a run's recipe lacks a field, as one of an older version may, the missing value differs from every other value.
    """
    fields = dict.fromkeys(field for run in runs for field in run.settings)
    found = [field for field in fields if not _same([run for run in runs if _goes_by(run.command, field)], field)]
    return sorted(found, key=lambda field: field == SEED)


_ABSENT = object()


def _same(runs: Sequence[Run], field: str) -> bool:
    first, *others = (run.settings.get(field, _ABSENT) for run in runs)
    return all(value == first for value in others)


def short_names(fields: Sequence[str], taken: Sequence[str]) -> dict[str, str]:
    """Returns a short column name per dotted field, as in a sweep's table, or the field itself if that is `taken`."""
    return {field: field if short in taken else short for field, short in column_names(fields).items()}


def distinct_names(paths: Sequence[str]) -> tuple[list[str], str]:
    """Returns the distinguishing part of each path, and a pattern of the shared start and end around a `*`.

    `["runs/1010-train-digits", "runs/1020-train-digits"]` gives `["1010", "1020"]` and `"runs/*-train-digits"`.
    """
    words = [_WORD_ENDS.split(path) for path in paths]
    most = min(map(len, words)) - 1  # each name keeps at least one word
    begin = _shared(words, most)
    end = _shared([path[::-1] for path in words], most - begin)
    names = ["".join(path[begin : len(path) - end]) for path in words]
    first, last = "".join(words[0][:begin]), "".join(words[0][len(words[0]) - end :])
    # A separator before the shared end goes to the pattern, not to the names.
    mark = next((mark for mark in "-/" if end and all(name.endswith(mark) for name in names)), "")
    return [name.removesuffix(mark) for name in names], f"{first}*{mark}{last}"


_WORD_ENDS = re.compile(r"(?<=/)|(?<=-)(?<!\de-)")
"""The word boundaries in a path: after a slash or a hyphen, but not the hyphen of a number such as 1e-3."""


def _shared(words: Sequence[Sequence[str]], most: int) -> int:
    alike = takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False))
    return min(most, sum(1 for _ in alike))


@dataclass(frozen=True)
class Group:
    """Runs that differ only in their seed, one per seed, with the settings that distinguish them from other groups."""

    settings: Mapping[str, Any]
    runs: tuple[Run, ...]


def groups(runs: Sequence[Run], fields: Sequence[str]) -> list[Group]:
    """Groups the runs by command and by their settings except the seed; `fields` are the settings that differ.

    If two runs have the same seed, the later one replaces the earlier: it is not an independent sample.
    """
    found: list[tuple[tuple[str, dict[str, Any]], dict[Any, Run]]] = []
    for run in runs:
        key = (run.command, {field: run.settings[field] for field in fields if field in run.settings and field != SEED})
        by_seed = next((by_seed for known, by_seed in found if known == key), None)
        if by_seed is None:
            by_seed = {}
            found.append((key, by_seed))
        by_seed[run.settings.get(SEED)] = run
    return [Group(settings, tuple(by_seed.values())) for (_, settings), by_seed in found]


@dataclass(frozen=True)
class Spread:
    """A result over the seeds of a group: `runs` in the group, and the mean over the `n` that reached their end.

    `standard_deviation` is the sample standard deviation (divided by n - 1). `standard_error` is that of the mean: the
    standard deviation divided by the square root of n. Both are None if n is 1.
    """

    settings: Mapping[str, Any]
    result: str
    runs: int
    n: int
    mean: float
    standard_deviation: float | None
    standard_error: float | None


def over_seeds(groups: Sequence[Group]) -> list[Spread]:
    """Returns the mean of each result over the seeds of each group, for results with two values in some group.

    Runs that diverged or were stopped have no final result: they count in `runs`, not in `n`.
    """
    spreads = [spread for group in groups for spread in _spreads(group)]
    several = {spread.result for spread in spreads if spread.n > 1}
    return [spread for spread in spreads if spread.result in several]


def _spreads(group: Group) -> Iterator[Spread]:
    for result in AVERAGED.get(group.runs[0].command, ()):
        ended = [run.results.get(result) for run in group.runs if run.status in ENDED]
        values = [float(value) for value in ended if value is not None]
        if values:
            deviation = stdev(values) if len(values) > 1 else None
            error = None if deviation is None else deviation / sqrt(len(values))
            yield Spread(group.settings, result, len(group.runs), len(values), fmean(values), deviation, error)


def labels(runs: Sequence[Run], fields: Sequence[str], names: Mapping[str, str]) -> list[str]:
    """Returns a label for each run's curve: the settings that distinguish the run, such as "max_lr 0.1, width 2".

    Runs that differ only in their seed share a label that ends with their number; if all runs do, the label is the
    seed. `names` maps each of the differing `fields` to its short name.
    """
    told = [_told(run, [field for field in fields if field != SEED], names) for run in runs]
    if len(set(told)) > 1:
        return numbered(told)
    return [_told(run, [SEED], names) for run in runs] if SEED in fields else [run.path for run in runs]


def numbered(names: Sequence[str]) -> list[str]:
    """Returns each name, with the number of runs that share it if there are several."""
    return [f"{name} ({names.count(name)} runs)" if names.count(name) > 1 else name for name in names]


def _told(run: Run, fields: Sequence[str], names: Mapping[str, str]) -> str:
    has = [f"{names[field]} {as_written(run.settings[field])}" for field in fields if field in run.settings]
    return ", ".join(has) or run.command
