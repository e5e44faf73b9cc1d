"""Comparing runs: which of their settings differ, what to call them, and what several seeds reach together. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from math import sqrt
from statistics import fmean, stdev
from typing import Any

from onecycle_cli.recipe import as_written
from onecycle_cli.recipe.grid import column_names

WITHOUT_EFFECT = ("name", "description", "data.mirrors", "runtime.log_every", "runtime.save_best")
"""Fields of a recipe that change no result."""

NOT_USED = {
    "train": ("find_lr.", "sweep_wd."),
    "find-lr": ("schedule.max_lr", "sweep_wd."),
}
"""Further fields that a run of each command does not go by, or how their names begin.

A training that found its own max_lr has the number in its recipe.
"""

ENDED = ("finished", "collapsed")
"""Statuses of runs that came to their end, so that what they reached can be averaged."""

AVERAGED = {
    "train": ("valid_loss", "valid_accuracy", "test_loss", "test_accuracy"),
    "find-lr": ("max_lr",),
}
"""The results of each command that are worth a mean over seeds."""

SEED = "seed"


@dataclass(frozen=True)
class Run:
    """A run as it is compared: where it lies, the settings it goes by (their dotted names), and what came out so far.

    A range test inside a sweep is one of find-lr. `results` are numbers and words by their names in the summary; None
    where there is none (yet).
    """

    path: str
    command: str
    status: str
    settings: Mapping[str, Any]
    results: Mapping[str, Any]


def settings_of(command: str, recipe: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a recipe, by their dotted names, that a run of `command` goes by."""
    return {field: value for field, value in recipe.items() if _goes_by(command, field)}


def _goes_by(command: str, field: str) -> bool:
    return field not in WITHOUT_EFFECT and not field.startswith(NOT_USED.get(command, NOT_USED["train"]))


def differing(runs: Sequence[Run]) -> list[str]:
    """The settings that are not the same in all runs that go by them, in the order of the recipe, the seed last.

    Where a run's recipe has no such field, as in one of an older version, that is a value of its own.
    """
    fields = dict.fromkeys(field for run in runs for field in run.settings)
    found = [field for field in fields if not _same([run for run in runs if _goes_by(run.command, field)], field)]
    return sorted(found, key=lambda field: field == SEED)


_ABSENT = object()


def _same(runs: Sequence[Run], field: str) -> bool:
    first, *others = (run.settings.get(field, _ABSENT) for run in runs)
    return all(value == first for value in others)


def short_names(fields: Sequence[str], taken: Sequence[str]) -> dict[str, str]:
    """What each dotted field is called in a table, as in a sweep's, or all of it where its short name is `taken`."""
    return {field: field if short in taken else short for field, short in column_names(fields).items()}


def distinct_names(paths: Sequence[str]) -> tuple[list[str], str]:
    """What tells the paths apart, without the words that all of them begin or end with; and these around a `*`.

    `["runs/1010-train-digits", "runs/1020-train-digits"]` gives `["1010", "1020"]` and `"runs/*-train-digits"`.
    """
    words = [_WORD_ENDS.split(path) for path in paths]
    most = min(map(len, words)) - 1  # one word at least is left of each
    begin = _shared(words, most)
    end = _shared([path[::-1] for path in words], most - begin)
    names = ["".join(path[begin : len(path) - end]) for path in words]
    first, last = "".join(words[0][:begin]), "".join(words[0][len(words[0]) - end :])
    # What parts the names from the words they share belongs to neither, but to the pattern.
    mark = next((mark for mark in "-/" if end and all(name.endswith(mark) for name in names)), "")
    return [name.removesuffix(mark) for name in names], f"{first}*{mark}{last}"


_WORD_ENDS = re.compile(r"(?<=/)|(?<=-)(?<!\de-)")
"""After a slash or a hyphen; that of 1e-3 is no hyphen."""


def _shared(words: Sequence[Sequence[str]], most: int) -> int:
    alike = takewhile(lambda column: len(set(column)) == 1, zip(*words, strict=False))
    return min(most, sum(1 for _ in alike))


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone, one a seed, and the settings that set them apart from other groups."""

    settings: Mapping[str, Any]
    runs: tuple[Run, ...]


def groups(runs: Sequence[Run], fields: Sequence[str]) -> list[Group]:
    """The runs by their settings but for the seed; `fields` are those that differ among all of them.

    A second run of the same seed takes the place of the first: it is no further draw.
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
    """A result over seeds: how many of the group's runs came to their end, and what these reached.

    `standard_deviation` is the sample's (divided by n - 1), `standard_error` that of the mean, the standard deviation
    divided by the root of n; both None where n is 1.
    """

    settings: Mapping[str, Any]
    result: str
    runs: int
    n: int
    mean: float
    standard_deviation: float | None
    standard_error: float | None


def over_seeds(groups: Sequence[Group]) -> list[Spread]:
    """The mean of each result over the seeds of each group; not of a result that no group has two values of.

    Runs that diverged or were stopped reached nothing that could be averaged: they count in `runs`, not in `n`.
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
    """What to call each run beside its curve: the settings that set it apart, such as "max_lr 0.1, width 2".

    Runs that differ in their seed alone share a label, which then says how many they are, unless there are no others.
    `names` has the short name of each of the `fields` that differ.
    """
    told = [_told(run, [field for field in fields if field != SEED], names) for run in runs]
    if len(set(told)) > 1:
        return [f"{words} ({told.count(words)} runs)" if told.count(words) > 1 else words for words in told]
    return [_told(run, [SEED], names) for run in runs] if SEED in fields else [run.path for run in runs]


def _told(run: Run, fields: Sequence[str], names: Mapping[str, str]) -> str:
    has = [f"{names[field]} {as_written(run.settings[field])}" for field in fields if field in run.settings]
    return ", ".join(has) or run.command
