"""What `diagnose` says of the runs in tests/golden/diagnosis/, and the tables of docs/diagnose.md.

python tests/golden/read_diagnosis.py      # writes the tables into the page again
"""

import csv
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path

from onecycle_cli.analysis.diagnosis import CurveEpoch, CurveStep, Statement, TrainingRun, diagnose
from onecycle_cli.experiments.diagnose import planned
from onecycle_cli.recipe import load, shipped_path, with_values

FOLDER = Path(__file__).parent / "diagnosis"
PAGE = Path(__file__).parent.parent.parent / "docs" / "diagnose.md"

RIGHT: dict[str, set[str | None]] = {
    "lr-too-large": {"lr-too-large", "collapsed", "diverged"},
    "weight-decay-too-large": {"weight-decay-too-large", "collapsed"},
    "healthy": {None},
    "momentum": {None, "underfitting"},
}
"""The first rules that are right for a planted fault, where it is not the one of its name. A lr that is much too large
ends a run, in one way or another, and so does a weight decay. None: nothing is said. No rule is on momentum, so it is
right to say what is said of the same run without the fault, which is that the one on CIFAR-10 underfits."""


@dataclass(frozen=True)
class Case:
    """A recorded run with its planted fault, and the statements on it."""

    name: str
    set: str
    fault: str
    run: TrainingRun
    statements: list[Statement]

    @property
    def first(self) -> str | None:
        """The rule of the most important statement."""
        return self.statements[0].rule if self.statements else None

    @property
    def right(self) -> bool:
        """Whether that is what was planted."""
        return self.first in RIGHT.get(self.fault, {self.fault})


def cases() -> list[Case]:
    """All recorded runs, in the order of the recording."""
    steps = {
        name: [CurveStep(int(step), *map(float, rest)) for step, *rest in rows] for name, rows in table("steps.csv")
    }
    epochs = {
        name: [CurveEpoch(int(epoch), *map(float, rest)) for epoch, *rest in rows] for name, rows in table("epochs.csv")
    }
    found = []
    for name, known in json.loads((FOLDER / "runs.json").read_text()).items():
        recipe = with_values(load(shipped_path(known["recipe"])), known["values"])
        counts = {column: known[column] for column in ("train_images", "valid_images", "classes")}
        run = TrainingRun(known["status"], planned(recipe, **counts), steps[name], epochs.get(name, []))
        found.append(Case(name, known["set"], known["fault"], run, diagnose(run)))
    return found


def table(name: str) -> Iterator[tuple[str, list[list[str]]]]:
    """The rows of each run in a recorded table."""
    with (FOLDER / name).open(newline="") as file:
        _, *rows = csv.reader(file)
    for run, group in groupby(rows, key=lambda row: row[0]):
        yield run, [cells for _, *cells in group]


def confusion_table(chosen: str) -> str:
    """The planted faults of a set against the first statements, in Markdown."""
    of_set = [case for case in cases() if case.set == chosen]
    lines = ["| planted | runs | first statement | right |", "| --- | --- | --- | --- |"]
    for fault in dict.fromkeys(case.fault for case in of_set):
        planted = [case for case in of_set if case.fault == fault]
        firsts = [case.first or "nothing" for case in planted]
        told = ", ".join(f"{firsts.count(first)} {first}" for first in dict.fromkeys(firsts))
        lines.append(f"| {fault} | {len(planted)} | {told} | {sum(case.right for case in planted)} |")
    lines.append(f"| all | {len(of_set)} | | {sum(case.right for case in of_set)} |")
    return "\n".join(lines)


def runs_table() -> str:
    """Every run with what it ended with and what is said of it, in Markdown."""
    lines = [
        "| run | set | planted | epochs | train loss | validation loss | accuracy | said |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for case in cases():
        said = ", ".join(statement.rule for statement in case.statements) or "nothing"
        ended = case.run.epochs[-1] if case.run.epochs else None
        numbers = f"{ended.train_loss:.3g} | {ended.valid_loss:.3g} | {ended.valid_accuracy:.1%}" if ended else " | | "
        lines.append(f"| {case.name} | {case.set} | {case.fault} | {len(case.run.epochs)} | {numbers} | {said} |")
    return "\n".join(lines)


def with_tables(page: str) -> str:
    """`page` with each table behind its mark, `<!-- read_diagnosis.py: NAME -->`, up to the next empty line."""
    tables = {
        "held_out": confusion_table("held-out"),
        "fit": confusion_table("fit"),
        "runs": runs_table(),
    }
    for name, text in tables.items():
        mark = rf"(<!-- read_diagnosis.py: {name} -->\n)(?:.+\n)*"
        page = re.sub(mark, partial(_below_mark, text), page)
    return page


def _below_mark(text: str, found: re.Match[str]) -> str:
    return f"{found[1]}{text}\n"


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
