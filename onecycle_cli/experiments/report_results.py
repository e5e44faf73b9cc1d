"""The results of sweeps, tunings, evaluations and batch sizes for a report. Imports no torch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import fmean
from typing import Any

from onecycle_cli.analysis.lr_range import ErrorBar, shape_of, told_max_lr
from onecycle_cli.analysis.wrong_predictions import EACH, worst_confusions
from onecycle_cli.errors import InputError, OnecycleError
from onecycle_cli.experiments.report_parts import cell, csv_column, csv_table, guarded, reason_of, setting
from onecycle_cli.experiments.suggestions import saved_curves
from onecycle_cli.experiments.tune_report import told
from onecycle_cli.figures.report.charts import Axis, RangeTests, overlay_figure, parallel_figure, speeds_figure
from onecycle_cli.figures.report.content import (
    Block,
    Cell,
    Details,
    Matrix,
    Picture,
    Pictures,
    Sheet,
    Table,
    Text,
)
from onecycle_cli.recipe import as_written
from onecycle_cli.recipe.grid import column_names
from onecycle_cli.run_dir.files import (
    BATCH_SIZE,
    CONFUSION,
    LR_RANGE,
    ORDER,
    PER_CLASS,
    RANKING,
    REPRODUCTION,
    SHEET_COLUMNS,
    SWEEP,
    SWEEP_PLAN,
    TUNE_STATE,
    WRONG,
    WRONG_PICTURES,
)
from onecycle_cli.run_dir.finding import runs_in
from onecycle_cli.run_dir.run import RunDir

MOST_CLASSES = 30
"""The most classes of a confusion matrix that is shown whole; of more, those with the most errors."""

MOST_LABELS = 9
"""The most values of an axis of parallel coordinates that have labels."""

Row = Mapping[str, Any]


def sweep_blocks(run: RunDir, name: str) -> list[Block]:
    """Returns the table of a sweep, its heat map, parallel coordinates, ranking, and the curves of range tests."""
    table = run.read_growing_table(SWEEP)
    if not table:
        return [Text("No cell of the sweep has ended yet.")]
    values = {column: csv_column([row[column] for row in table]) for column in table[0]}
    rows = [{column: values[column][i] for column in table[0]} for i in range(len(table))]
    summary, blocks = _summary(run)
    reason = summary.get("verdict") or summary.get("reason")
    if reason:
        blocks.append(Text(str(reason)))
    try:
        planned = _planned(run)
    except (OnecycleError, OSError, TypeError, AttributeError) as error:
        planned = []
        blocks.append(Text(f"The plan of the sweep could not be read: {reason_of(error)}", "note"))
    fields = _varying(planned, rows)
    score = "valid_loss" if "valid_loss" in rows[0] else "max_lr"
    columns = [c for c in rows[0] if c in fields or any(row[c] is not None for row in rows)]
    lines = [[setting(row[c]) if c in fields else cell(c, row[c]) for c in columns] for row in rows]
    blocks.append(Table(f"{name}-cells", "Each cell of the sweep", columns, lines))
    compared = [field for field in fields if field != "seed"]
    if len(compared) >= 2:
        blocks += guarded("The heat map", lambda: [_heat_map(rows, compared, score, name)])
    if len(fields) >= 2 and len(rows) > 1:
        blocks += guarded("The parallel coordinates", lambda: [_parallel(rows, fields, score, name)])
    if run.has(RANKING):
        caption = "Means over seeds, the lowest validation loss first"
        ranking = f"{name}-ranking"
        blocks += guarded(
            "The ranking", lambda: [csv_table(run, RANKING, identity=ranking, caption=caption, settings=compared)]
        )
    if score == "max_lr":
        chosen = str(summary.get("chosen_run") or "").rpartition("/")[2] or None
        blocks += guarded("The curves", lambda: _overlay(run, rows, fields, name, chosen))
    return blocks


def _summary(run: RunDir) -> tuple[dict[str, Any], list[Block]]:
    """Returns the summary of a run, or none and a sentence if it is damaged: its tables can be shown all the same."""
    try:
        return run.summary, []
    except (OnecycleError, OSError) as error:
        return {}, [Text(f"The summary could not be read: {reason_of(error)}", "note")]


def _planned(run: RunDir) -> list[str]:
    """Returns the fields that a sweep varies."""
    if not run.has(SWEEP_PLAN):
        return []
    return [str(field) for field in run.read_json(SWEEP_PLAN).get("fields") or []]


def _varying(planned: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Returns the columns of the fields that vary, with the seed if it does."""
    names = [name for name in column_names(planned).values() if name in rows[0]]
    several_seeds = len({row.get("seed") for row in rows}) > 1
    return [*names, *(["seed"] if several_seeds and "seed" not in names else [])]


def _heat_map(rows: Sequence[Row], fields: Sequence[str], score: str, name: str) -> Matrix:
    """Returns the mean score by the two fields with the most values.

    A mean that lacks cells, such as seeds that diverged, says so and has no shade: it could look like the best.
    """
    across = sorted(fields, key=lambda field: -len({repr(row[field]) for row in rows}))[:2]
    down, right = sorted(across, key=fields.index)
    ups, rights = (_values(rows, field) for field in (down, right))
    scores = [[[r[score] for r in rows if (r[down], r[right]) == (up, one)] for one in rights] for up in ups]
    means = [[_mean(some) for some in line] for line in scores]
    known = sorted(mean.value for line in means for mean in line if mean is not None and mean.is_whole)
    shades = [
        [_rank(mean.value, known, score) if mean is not None and mean.is_whole else None for mean in line]
        for line in means
    ]
    texts = [["" if mean is None else str(mean) for mean in line] for line in means]
    over = [field for field in fields if field not in across]
    over += ["seeds"] if len({row.get("seed") for row in rows}) > 1 else []
    averaged = f", averaged over {', '.join(over)}" if over else ""
    lacking = any(mean is not None and not mean.is_whole for line in means for mean in line)
    without = "; a mean without all of its cells has no shade" if lacking else ""
    best = "the lower, the darker" if score == "valid_loss" else "the higher, the darker"
    caption = f"Heat map: {'mean ' if over else ''}{score} of each combination{averaged}; {best}{without}"
    rows_named, columns_named = ([as_written(value) for value in values] for values in (ups, rights))
    return Matrix(f"{name}-heat", caption, down, right, rows_named, columns_named, texts, shades)


def _rank(value: float, known: Sequence[float], score: str) -> float:
    """Returns a shade: 1 for the best value, and the others by their distance to it on a log scale."""
    low, high = (math.log(max(end, 1e-12)) for end in (known[0], known[-1]))
    if high == low:
        return 0.5
    share = (math.log(max(value, 1e-12)) - low) / (high - low)
    return 0.9 * (1 - share if score == "valid_loss" else share)


@dataclass(frozen=True)
class _Mean:
    """The mean of the finite ones among `runs` scores: `n` of them."""

    value: float
    n: int
    runs: int

    @property
    def is_whole(self) -> bool:
        return self.n == self.runs

    def __str__(self) -> str:
        return f"{self.value:.4g}" if self.is_whole else f"{self.value:.4g} ({self.n} of {self.runs})"


def _mean(values: Sequence[Any]) -> _Mean | None:
    finite = [value for value in values if isinstance(value, int | float) and math.isfinite(value)]
    return _Mean(fmean(finite), len(finite), len(values)) if finite else None


def _values(rows: Sequence[Row], field: str) -> list[Any]:
    """Returns the values of a field in order: numbers by size, others as they come."""
    found = list(dict.fromkeys(row[field] for row in rows))
    return sorted(found) if all(isinstance(value, int | float) for value in found) else found


def _parallel(rows: Sequence[Row], fields: Sequence[str], score: str, name: str) -> Block:
    names = [", ".join(f"{field} {as_written(row[field])}" for field in fields) for row in rows]
    scores = [row[score] for row in rows]
    axes = [_choice_axis(rows, field) for field in fields]
    results = ("valid_loss", "valid_accuracy") if score == "valid_loss" else ("reach_lr", "max_lr")
    axes += [axis for result in results if (axis := _result_axis(rows, result)) is not None]
    known = sorted(value for value in scores if isinstance(value, int | float) and math.isfinite(value))
    shades = [1 - _rank(value, known, score) / 0.9 if value in known else 1.0 for value in scores]
    if score == "max_lr":  # a higher max_lr is no better
        shades = [0.3] * len(rows)
    title = "Parallel coordinates of the cells"
    return parallel_figure(f"{name}-parallel", title=title, axes=axes, names=names, shades=shades)


def _choice_axis(rows: Sequence[Row], field: str) -> Axis:
    """Returns an axis with the values of a field evenly spaced, in their order."""
    values = _values(rows, field)
    height = {repr(value): i / max(1, len(values) - 1) if len(values) > 1 else 0.5 for i, value in enumerate(values)}
    every = max(1, math.ceil(len(values) / MOST_LABELS))
    labels = [(height[repr(value)], as_written(value)) for value in values[::every]]
    return Axis(field, [height[repr(row[field])] for row in rows], labels)


def _result_axis(rows: Sequence[Row], result: str) -> Axis | None:
    """Returns an axis of a result, from its lowest value to its highest; None if no row has one."""
    values = [row.get(result) for row in rows]
    finite = [value for value in values if isinstance(value, int | float) and math.isfinite(value)]
    if not finite:
        return None
    low, high = min(finite), max(finite)
    room = (high - low) or 1.0
    heights = [(value - low) / room if value in finite else None for value in values]
    ends = [(0.0, f"{low:.3g}")] if low == high else [(0.0, f"{low:.3g}"), (1.0, f"{high:.3g}")]
    return Axis(result, heights, ends)


def _overlay(run: RunDir, rows: Sequence[Row], fields: Sequence[str], name: str, chosen: str | None) -> list[Block]:
    """Returns the smooth curves of all range tests of a sweep, with the lr that each reaches."""
    tests, bad = [], []
    for folder in runs_in(run):
        if folder is run or not folder.has(LR_RANGE):
            continue
        try:
            curves = saved_curves(folder, growing=True)
        except InputError as error:
            bad.append(Text(error.what, "note"))
            continue
        if curves and len(shape_of(curves).lrs):
            row = next((row for row in rows if _named(row, fields) == folder.path.name), None)
            tests.append(RangeTests(folder.path.name, shape_of(curves), row.get("reach_lr") if row else None))
    if not tests:
        return list(bad)
    title = "The smoothed losses of all range tests over the learning rate"
    return [*bad, overlay_figure(f"{name}-overlay", title=title, tests=tests, mark="reach_lr", chosen=chosen)]


def _named(row: Row, fields: Sequence[str]) -> str:
    from onecycle_cli.recipe.grid import folder_name

    return folder_name({field: row[field] for field in fields})


def tune_blocks(run: RunDir, name: str) -> list[Block]:
    """Returns the decisions of a tuning, each with its trials."""
    summary = run.summary
    if not summary:
        return [Text("The tuning has not ended; its short runs so far are below.", "note")]
    blocks: list[Block] = []
    if summary.get("max_lr") is not None:
        bar = ErrorBar.of(summary)
        blocks.append(Text(told_max_lr(summary["max_lr"], summary["confidence"], bar, summary["reason"])))
    lines = [
        [Cell(one["stage"]), Cell(told(one["chosen"])), Cell(one["reason"]), Cell(told(one["was"]))]
        for one in summary["decisions"]
    ]
    columns = ["stage", "chosen", "reason", "was"]
    blocks.append(Table(f"{name}-decisions", "The decisions, in the order of the tuning", columns, lines))
    for number, one in enumerate(summary["decisions"]):
        blocks.append(_trials(one, f"{name}-trials-{number}"))
    if summary.get("left_out"):
        blocks.append(Text(f"Left out for lack of time: {', '.join(summary['left_out'])}.", "note"))
    return [*blocks, *guarded("The measured speeds", lambda: _speeds(run, name))]


def _speeds(run: RunDir, name: str) -> list[Block]:
    """Returns the speeds that a tuning measured; nothing if it measured none."""
    speeds = run.read_json(TUNE_STATE).get("speeds") if run.has(TUNE_STATE) else None
    if not speeds:
        return []
    lines = [[setting(int(size)), cell("images_per_second", speed)] for size, speed in speeds.items()]
    table = Table(f"{name}-speeds", "Measured speeds", ["batch_size", "images_per_second"], lines)
    return [Details("The measured speeds", [table])]


def _trials(decision: Mapping[str, Any], identity: str) -> Table:
    """Returns the short runs of a decision."""
    fields = list(decision["was"])
    names = column_names(fields)
    lines = [
        [
            *(setting(trial["values"][field]) for field in fields),
            cell("max_lr", trial["max_lr"]),
            cell("valid_loss", trial["valid_loss"]),
            Cell("chosen" if _is_chosen(decision, trial) else trial.get("problem") or ""),
        ]
        for trial in decision["trials"]
    ]
    return Table(
        identity, f"Short runs: {decision['stage']}", [*names.values(), "max_lr", "valid_loss", "outcome"], lines
    )


def _is_chosen(decision: Mapping[str, Any], trial: Mapping[str, Any]) -> bool:
    return all(trial["values"][field] == value for field, value in decision["chosen"].items())


def batch_size_blocks(run: RunDir, name: str) -> list[Block]:
    """Returns the batch sizes that were tried, with their speeds."""
    rows = run.read_growing_table(BATCH_SIZE)
    summary, blocks = _summary(run)
    chosen = summary.get("batch_size")
    timed = [(int(row["batch_size"]), float(row["images_per_second"])) for row in rows if row["images_per_second"]]
    blocks += [Text(str(summary["reason"]))] if summary.get("reason") else []
    if timed:
        sizes, speeds = zip(*timed, strict=True)
        title = "Images a second by batch size"
        blocks.append(speeds_figure(f"{name}-speeds", title=title, sizes=sizes, speeds=speeds, chosen=chosen))
    caption = "The batch sizes that were tried"
    blocks.append(csv_table(run, BATCH_SIZE, identity=f"{name}-sizes", caption=caption))
    return blocks


def reproduction_blocks(run: RunDir, name: str) -> list[Block]:
    """Returns the runs of a reproduction beside the published ones, and the published orders."""
    summary, blocks = _summary(run)
    blocks += [Text(str(summary["verdict"]))] if summary.get("verdict") else []
    for table, caption in (
        (REPRODUCTION, "Means over seeds, and the published figures; accuracies and differences from 0 to 1"),
        (ORDER, "Pairs of runs that the blog post compares: better minus worse, as published and here"),
    ):
        identity = f"{name}-{table.removesuffix('.csv')}"
        make = partial(csv_table, run, table, identity=identity, caption=caption)
        blocks += guarded(table, lambda make=make: [make()])  # type: ignore[misc]
    return blocks


def evaluation_blocks(run: RunDir, name: str, *, pictures: bool) -> list[Block]:
    """Returns the scores of an evaluation: each class, the confusion matrix, the wrong predictions with their images.

    Without `pictures`, the images are left out.
    """
    blocks = guarded("The scores", lambda: _scores(run))
    if run.has(PER_CLASS):
        caption = "Each class. Recall: the share of its images that were called so. "
        caption += "Precision: the share of the images called this class that really are of it"
        identity = f"{name}-classes"
        first = ("class", "recall", "precision")  # before the counts, so that a small screen shows them
        blocks += guarded(
            "The table of the classes",
            lambda: [csv_table(run, PER_CLASS, identity=identity, caption=caption, text=("class",), first=first)],
        )
    if not run.has(CONFUSION):
        return blocks
    rows = run.read_table(CONFUSION)
    classes = [next(iter(row.values())) for row in rows]
    counts = [[int(text) for text in list(row.values())[1:]] for row in rows]
    blocks.append(_confusion(classes, counts, name))
    worst = worst_confusions(counts)
    if worst:
        lines = [
            [Cell(classes[true]), Cell(classes[other]), cell("images", count), _share(count / sum(counts[true]))]
            for true, other, count in worst
        ]
        columns = ["true class", "predicted", "images", "share of the class"]
        blocks.append(Table(f"{name}-worst", "The worst confusions", columns, lines))
    if run.has(WRONG):
        pairs = [(classes[true], classes[other]) for true, other, _ in worst]
        blocks += guarded("The wrong predictions", lambda: _wrong(run, name, pairs, pictures=pictures))
    return blocks


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _scores(run: RunDir) -> list[Block]:
    """Returns the scores of an evaluation as a sentence; nothing if it has not ended."""
    summary = run.summary
    if not summary:
        return []
    further = [f"{key} {summary[key]:.4f}" for key in ("balanced_accuracy", "top5_accuracy") if summary.get(key)]
    scores = ", ".join([f"accuracy {summary['accuracy']:.4f}", *further, f"loss {summary['loss']:.4f}"])
    return [Text(f"Scored on {summary['images']:,} images, {summary['scored']}: {scores}.")]


def _share(share: float) -> Cell:
    return Cell(_percent(share), share)


def _confusion(classes: Sequence[str], counts: Sequence[Sequence[int]], name: str) -> Matrix:
    """Returns the confusion matrix; of many classes, the rows and columns with the most errors."""
    caption = "Confusion matrix: true classes in rows, predicted classes in columns, shaded by the share of the row"
    kept = list(range(len(classes)))
    if len(classes) > MOST_CLASSES:
        errors = [sum(row) + sum(line[i] for line in counts) - 2 * row[i] for i, row in enumerate(counts)]
        kept = sorted(sorted(kept, key=lambda i: -errors[i])[:MOST_CLASSES])
        caption += f". Of {len(classes):,} classes, the {MOST_CLASSES} with the most errors"
    shades = [[counts[i][j] / max(1, sum(counts[i])) if counts[i][j] else None for j in kept] for i in kept]
    texts = [[str(counts[i][j]) if counts[i][j] else "" for j in kept] for i in kept]
    names = [classes[i] for i in kept]
    return Matrix(f"{name}-confusion", caption, "true", "predicted", names, names, texts, shades)


def _wrong(run: RunDir, name: str, worst: Sequence[tuple[str, str]], *, pictures: bool) -> list[Block]:
    rows = run.read_growing_table(WRONG)
    if not rows:
        return [Text("No prediction is wrong.")] if _summary(run)[0] else []
    blocks: list[Block] = []
    sheet = _sheet(run, len(rows), name) if pictures and run.has(WRONG_PICTURES) else None
    if sheet is None:
        blocks.append(Text("The images of the wrong predictions are left out: the table names them.", "note"))
    else:
        blocks += _worst_pictures(sheet, rows, worst)
        caption = "Wrong predictions, the most confident first"
        every = [_picture(i, row) for i, row in enumerate(rows)]
        blocks.append(Details(f"{caption} ({len(rows)})", [Pictures(caption, sheet, every)]))
    text = ("image", "true", "predicted", "file")
    caption = "Wrong predictions that were kept: the most confident, and some of each frequent confusion"
    table = csv_table(run, WRONG, identity=f"{name}-wrong", caption=caption, text=text)
    return [*blocks, Details("The table of the wrong predictions", [table])]


def _worst_pictures(sheet: Sheet, rows: Sequence[Mapping[str, str]], worst: Sequence[tuple[str, str]]) -> list[Block]:
    """Returns the images of each of the worst confusions; those with one image share a block."""
    blocks: list[Block] = []
    single: list[Picture] = []
    for true, predicted in worst:
        some = [i for i, row in enumerate(rows) if (row["true"], row["predicted"]) == (true, predicted)]
        if len(some) == 1:
            single.append(_picture(some[0], rows[some[0]]))
        elif some:
            pictures = [_picture(i, rows[i]) for i in some[:EACH]]
            blocks.append(Pictures(f"{true} that was predicted as {predicted}", sheet, pictures))
    if single:
        blocks.append(Pictures("Confusions of one image", sheet, single))
    return blocks


def _sheet(run: RunDir, images: int, name: str) -> Sheet | None:
    """Reads the sheet of images; None if it is no PNG."""
    png = run.content(WRONG_PICTURES)
    if png[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    return Sheet(name, png, SHEET_COLUMNS, math.ceil(images / SHEET_COLUMNS))


def _picture(position: int, row: Mapping[str, str]) -> Picture:
    """Returns one image with the answer, its probability, and the one of its true class."""
    likely, true = (_percent(float(row[column])) for column in ("probability", "true_probability"))
    place = f"image {row['image']}" if row["image"].isdecimal() else row["image"].rpartition("/")[2]
    image = row.get("file") or place  # older runs have no such column
    said = f"{image}: {row['true']}, predicted as {row['predicted']} with {likely}; its own class has {true}"
    return Picture(position, [f"called {row['predicted']} ({likely})", f"is {row['true']} ({true})", image], said)
