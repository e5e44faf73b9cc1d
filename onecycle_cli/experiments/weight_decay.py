"""The weight decay sweep: the same range test for several values, and which of them to take."""

from dataclasses import dataclass

import numpy as np

from onecycle_cli.engine import Hardware
from onecycle_cli.experiments.range_test import RangeTest, range_test
from onecycle_cli.experiments.setup import prepare
from onecycle_cli.lr_range import FEWEST_POINTS, onset_index
from onecycle_cli.progress import Report
from onecycle_cli.recipe import Recipe, to_yaml, with_values
from onecycle_cli.run_dir.files import SWEEP, SWEEP_COLUMNS, SWEEP_FIGURE
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.sweeps import Reading, SweepRow, read_weight_decay


@dataclass(frozen=True)
class Sweep:
    """All rows of a sweep, and what they say."""

    rows: list[SweepRow]
    reading: Reading


def sweep_wd(recipe: Recipe, hardware: Hardware, run: RunDir, report: Report) -> Sweep:
    """Runs the range test for each of the recipe's weight decays, from the same weights on the same batches.

    Each value is a full range test in a folder of its own inside `run`; beside them lie the table and the overlay.
    """
    setup = prepare(recipe, hardware, run, report)
    rows: list[SweepRow] = []
    tests: list[RangeTest] = []
    with run.table(SWEEP, SWEEP_COLUMNS) as table:
        for weight_decay in recipe.sweep_wd.weight_decays:
            report(f"Weight decay {short(weight_decay)}, {len(rows) + 1} of {len(recipe.sweep_wd.weight_decays)}.")
            one = with_values(recipe, {"optimizer.weight_decay": weight_decay})
            inner = run.inner(value_folder(weight_decay), to_yaml(one))
            with inner.recording():
                test = range_test(one, setup, inner, report)
                inner.finish("finished", vars(test.suggestion))
            rows.append(_row(weight_decay, test))
            tests.append(test)
            table.append([vars(rows[-1])])
    reading = read_weight_decay(rows)
    _draw(recipe, rows, tests, reading, run)
    return Sweep(rows, reading)


def value_folder(weight_decay: float) -> str:
    """The name of a value's folder in the sweep's: `weight_decay=1e-3`."""
    return f"weight_decay={short(weight_decay)}"


def short(number: float) -> str:
    """A number as a person writes it in a list of weight decays: 1e-3, 3.16e-4, 0."""
    if number == 0:
        return "0"
    mantissa, exponent = f"{number:.6e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.')}e{int(exponent)}"


def _row(weight_decay: float, test: RangeTest) -> SweepRow:
    points = test.finite
    smoothed = np.array([point.smoothed_loss for point in points])
    onset = onset_index(smoothed) if len(points) else None
    status = "finished" if test.suggestion.max_lr else "diverged" if len(points) < FEWEST_POINTS else "no suggestion"
    return SweepRow(
        weight_decay,
        argmin_lr=points[int(smoothed.argmin())].lr if len(points) else None,
        onset_lr=points[onset].lr if onset is not None else None,
        stop_lr=test.stop_lr,
        max_lr=test.suggestion.max_lr,
        status=status,
    )


def _draw(recipe: Recipe, rows: list[SweepRow], tests: list[RangeTest], reading: Reading, run: RunDir) -> None:
    from onecycle_cli.plots import Curve, plot_sweep

    curves = [
        Curve(
            short(row.weight_decay),
            [point.lr for point in test.finite],
            [point.smoothed_loss for point in test.finite],
            row.onset_lr,
        )
        for row, test in zip(rows, tests, strict=True)
    ]
    chosen = short(reading.chosen.weight_decay) if reading.chosen else None
    title = f"{recipe.name}: range tests by weight decay"
    run.write_with(SWEEP_FIGURE, lambda path: plot_sweep(path, title=title, curves=curves, chosen=chosen))
