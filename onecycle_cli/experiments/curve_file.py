"""Reads the curves of range tests from the text of a CSV file, written by any tool."""

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import StringIO

from onecycle_cli.analysis.lr_range import Curve
from onecycle_cli.analysis.lr_range.from_arrays import MOST_STEPS
from onecycle_cli.errors import InputError

LOSS_COLUMNS = ("loss", "train_loss")
"""The default names of the loss column. The first one in the file is used."""

SEED_COLUMN = "seed"
"""The column that distinguishes several range tests in a file, as in `lr_range.csv`."""

MOST_TOLD = 10
"""The largest number of lines to list in a message; the rest are counted."""


Step = tuple[str, float, float]
"""The seed, the lr and the loss of a step."""


@dataclass(frozen=True)
class CurveFile:
    """The curves of a file, one per seed, and the name of the column with the losses."""

    curves: list[Curve]
    loss_column: str


def read_curves(text: str, source: str, *, lr_column: str = "lr", loss_column: str | None = None) -> CurveFile:
    """Reads range tests from the text of a CSV file, called `source` in messages.

    The first line names the columns. The separator is a comma, a semicolon or a tab. If there is a column `seed`, each
    seed is a separate range test. `InputError` names a missing column, or lists the lines that cannot be read.
    """
    text = text.removeprefix("\ufeff")
    header = text.partition("\n")[0]
    reader = csv.reader(StringIO(text, newline=""), delimiter=max(",;\t", key=header.count))
    try:
        rows = [(reader.line_num, row) for row in reader if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise InputError(
            f"{source}, line {reader.line_num}: not readable as CSV: {error}.", "Correct that line."
        ) from None
    if len(rows) < 2:
        raise InputError(
            f"{source} has no rows.", "The first line names the columns, and each line after it is a step."
        )
    columns = [cell.strip() for cell in rows[0][1]]
    wanted = (loss_column,) if loss_column is not None else LOSS_COLUMNS
    loss_column = next((name for name in wanted if name in columns), None)
    if lr_column not in columns or loss_column is None:
        missing = lr_column if lr_column not in columns else " or ".join(wanted)
        flag = "--lr-column" if lr_column not in columns else "--loss-column"
        raise InputError(
            f"{source} has no column {missing}.",
            f"It has {', '.join(columns[:20])}: name one with {flag}. The first line names the columns.",
        )
    steps = _steps(columns, rows[1:], source, lr_column, loss_column)
    return CurveFile(_curves(steps, source), loss_column)


def _steps(
    columns: Sequence[str], rows: Sequence[tuple[int, Sequence[str]]], source: str, lr_column: str, loss_column: str
) -> list[Step]:
    """Reads the steps from numbered lines; `InputError` lists the lines that cannot be read."""
    steps: list[Step] = []
    problems: list[str] = []
    before: dict[str, float] = {}
    for line, row in rows:
        step = _step(dict(zip(columns, row, strict=False)), lr_column, loss_column)
        if isinstance(step, str):
            problems.append(f"line {line}: {step}")
            continue
        seed, lr, _ = step
        if lr <= before.get(seed, 0.0):
            problems.append(f"line {line}: {lr_column} {lr:g} comes after {before[seed]:g}")
        before[seed] = lr
        steps.append(step)
    if problems:
        listed = [*problems[:MOST_TOLD], *([f"and {len(problems) - MOST_TOLD} more"] * (len(problems) > MOST_TOLD))]
        raise InputError(
            "\n  ".join([f"{source} cannot be read:", *listed]),
            "Each line is a step, in ascending order of lr. Several range tests need a column seed.",
        )
    return steps


def _curves(steps: Sequence[Step], source: str) -> list[Curve]:
    """Returns a curve for each seed; `InputError` if their lrs differ, or if a curve is too long."""
    tests: dict[str, list[tuple[float, float]]] = {}
    for seed, lr, loss in steps:
        tests.setdefault(seed, []).append((lr, loss))
    curves = [Curve([lr for lr, _ in test], [loss for _, loss in test]) for test in tests.values()]
    longest = max(curves, key=lambda curve: len(curve.lrs))
    if len(longest.lrs) > MOST_STEPS:
        what = f"{source} has a range test of {len(longest.lrs):,} steps; at most {MOST_STEPS:,} can be read."
        raise InputError(what, "Keep only every tenth step, or fewer.")
    for seed, curve in zip(tests, curves, strict=True):
        if not all(map(_is_close, curve.lrs, longest.lrs)):
            what = f"The range test of seed {seed} in {source} has different learning rates from the longest one."
            raise InputError(what, "Only range tests over the same learning rates can be read together.")
    return curves


def _is_close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-6)


def _step(row: Mapping[str, str], lr_column: str, loss_column: str) -> Step | str:
    """Returns the seed, the lr and the loss of a row, or a text that says what is wrong with it."""
    values = []
    for column in (lr_column, loss_column):
        if not (text := row.get(column, "").strip()):
            return f"{column} is empty"
        try:
            values.append(float(text))
        except ValueError:
            return f"{column} is {text[:40]!r}, not a number"
    lr, loss = values
    if not 0 < lr < math.inf:
        return f"{lr_column} is {row[lr_column].strip()}, not a finite number above 0"
    return row.get(SEED_COLUMN, "").strip(), lr, loss
