"""The weight decay sweep: the same range test for several values, and which of them to take."""

from dataclasses import dataclass
from statistics import median

from onecycle_cli.engine import Hardware
from onecycle_cli.experiments.range_test import RangeTest, range_test
from onecycle_cli.experiments.setup import Setup, prepare
from onecycle_cli.lr_range import shape_of, turn_of
from onecycle_cli.progress import Report
from onecycle_cli.recipe import Recipe, to_yaml, with_values
from onecycle_cli.run_dir.files import SWEEP, SWEEP_COLUMNS, SWEEP_FIGURE
from onecycle_cli.run_dir.run import RunDir
from onecycle_cli.sweeps import Reading, SweepRow, bisected, read_weight_decay


@dataclass(frozen=True)
class Sweep:
    """All rows of a sweep, and what they say."""

    rows: list[SweepRow]
    reading: Reading


def sweep_wd(
    recipe: Recipe, hardware: Hardware, run: RunDir, report: Report, *, repeats: int = 1, refine: bool = False
) -> Sweep:
    """Runs the range test for each of the recipe's weight decays, from the same weights on the same batches.

    Each value is a full range test in a folder of its own inside `run`; beside them lie the table and the overlay. With
    `refine`, the values half-way to the chosen one's neighbours are tested too, and all are read again.
    """
    setup = prepare(recipe, hardware, run, report)
    rows: dict[SweepRow, RangeTest] = {}
    with run.table(SWEEP, SWEEP_COLUMNS) as table:

        def test(weight_decays: list[float]) -> None:
            for number, weight_decay in enumerate(weight_decays, start=1):
                report(f"Weight decay {short(weight_decay)}, {number} of {len(weight_decays)}.")
                tested = _range_test(recipe, weight_decay, setup, run, report, repeats)
                row = _row(weight_decay, tested)
                rows[row] = tested
                table.append([vars(row)])

        test(list(recipe.sweep_wd.weight_decays))
        reading = read_weight_decay(list(rows), _gain(recipe))
        if refine and reading.chosen is not None:
            between = bisected(list(recipe.sweep_wd.weight_decays), reading.chosen.weight_decay)
            if not between:
                report("There is no weight decay between the chosen one and its neighbours to refine it with.")
            test(between)
            reading = read_weight_decay(list(rows), _gain(recipe))
    _draw(recipe, rows, reading, run)
    return Sweep(list(rows), reading)


def _range_test(
    recipe: Recipe, weight_decay: float, setup: Setup, run: RunDir, report: Report, repeats: int
) -> RangeTest:
    one = with_values(recipe, {"optimizer.weight_decay": weight_decay})
    inner = run.inner(value_folder(weight_decay), to_yaml(one))
    with inner.recording():
        test = range_test(one, setup, inner, report, repeats=repeats)
        inner.finish("finished", vars(test.suggestion))
    return test


def _gain(recipe: Recipe) -> float:
    """How far SGD's momentum carries a step at the peak of the cycle; AdamW's decay knows no momentum."""
    return 1 / (1 - recipe.schedule.at_peak) if recipe.optimizer.name == "sgd" else 1.0


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
    turn, suggestion = turn_of(test.curves), test.suggestion
    stops = [lr for lr in test.stop_lrs if lr is not None]
    return SweepRow(
        weight_decay,
        argmin_lr=turn.argmin_lr if turn else None,
        onset_lr=turn.onset_lr if turn else None,
        reach_lr=turn.reach_lr if turn else None,
        stop_lr=median(stops) if len(stops) == len(test.stop_lrs) else None,
        max_lr=suggestion.max_lr,
        status="finished" if suggestion.max_lr else "diverged" if turn is None else "no suggestion",
    )


def _draw(recipe: Recipe, rows: dict[SweepRow, RangeTest], reading: Reading, run: RunDir) -> None:
    from onecycle_cli.plots import Overlaid, plot_sweep

    curves = [
        Overlaid(short(row.weight_decay), shape_of(test.curves), row.reach_lr)
        for row, test in sorted(rows.items(), key=lambda item: -item[0].weight_decay)
    ]
    chosen = short(reading.chosen.weight_decay) if reading.chosen else None
    title = f"{recipe.name}: range tests by weight decay"
    run.write_with(SWEEP_FIGURE, lambda path: plot_sweep(path, title=title, curves=curves, chosen=chosen))
