"""Draws the curve of a saved run as lines of text. Imports the drawing library on first use, and never torch."""

from typing import TYPE_CHECKING

from onecycle_cli.analysis.lr_range import ErrorBar, shape_of
from onecycle_cli.experiments.suggestions import numbers_in, saved_curves
from onecycle_cli.run_dir.files import EPOCHS, LR_RANGE, STEPS, SUGGESTION
from onecycle_cli.run_dir.run import RunDir

if TYPE_CHECKING:
    from onecycle_cli.figures.terminal import Point, Screen

MANY_STEPS_BYTES, MANY_EPOCHS_BYTES = 3_000_000, 1_000
"""The sizes of the two tables above which that of the epochs is drawn: some 70,000 steps and 8 epochs.

450,000 steps took two seconds to read, and a screen has 150 dots in a row."""


def curve_lines(run: RunDir, screen: "Screen") -> list[str]:
    """Draws the losses of a training, or else the curve of a range test, as far as it came.

    Returns no line for a run that has neither, and where there is no room. `InputError` if a table is damaged.
    """
    from onecycle_cli.figures.terminal import training_lines

    if screen.is_too_small:
        return []
    train = _points(run, _train_table(run), "train_loss")
    if len(train) > 1:
        return training_lines(screen, train=train, valid=_points(run, EPOCHS, "valid_loss"))
    return _range_test_lines(run, screen) if (run.path / LR_RANGE).is_file() else []


def _train_table(run: RunDir) -> str:
    """Returns the table that has the train losses: that of the epochs if there are many, of very many steps."""
    steps, epochs = ((run.path / name).stat().st_size if (run.path / name).is_file() else 0 for name in (STEPS, EPOCHS))
    return EPOCHS if steps > MANY_STEPS_BYTES and epochs > MANY_EPOCHS_BYTES else STEPS


def _range_test_lines(run: RunDir, screen: "Screen") -> list[str]:
    from onecycle_cli.figures.terminal import range_test_lines

    curves = saved_curves(run, growing=True)
    if not curves:
        return []
    shape = shape_of(curves)
    saved = run.read_json(SUGGESTION) if (run.path / SUGGESTION).is_file() else {}
    with numbers_in(run, SUGGESTION):
        max_lr, bar = saved.get("max_lr"), ErrorBar.of(saved)
        return range_test_lines(
            screen,
            tests=[list(zip(curve.lrs, curve.losses, strict=True)) for curve in curves],
            smooth=list(zip(shape.lrs.tolist(), shape.median.tolist(), strict=True)),
            max_lr=None if max_lr is None else float(max_lr),
            best=None if bar is None else (float(bar.lowest_max_lr), float(bar.highest_max_lr)),
        )


def _points(run: RunDir, table: str, column: str) -> "list[Point]":
    """Returns the values of a column over the steps; none if the table is missing."""
    rows = run.read_growing_table(table)
    with numbers_in(run, table):
        return [(float(row["step"]), float(row[column])) for row in rows]
