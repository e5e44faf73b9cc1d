"""The charts of a report, as Vega-Lite specifications from plain columns.

Colours are names of CSS variables, so that the page decides them: light, dark, or on paper. Data come in columns beside
the specification.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from onecycle_cli.analysis.lr_range import Shape, Suggestion
from onecycle_cli.analysis.thinning import thinned
from onecycle_cli.figures.report.content import Figure, LegendEntry, Panel

COLORS = 6
"""The number of colours of the page: `--c0` to `--c5`."""

DASHES = ([1, 0], [6, 3], [2, 2], [8, 3, 2, 3])
"""The line styles; with the colours, they tell 24 curves apart, also in grey."""

MOST_POINTS, MOST_A_CURVE, FEWEST_A_CURVE = 12_000, 400, 40
"""The most points of a figure, and of one curve in it; the fewest of a curve, however many there are."""

MOST_HOVERED = 4_000
"""The most points that answer a pointer with their numbers. Each is an element of the page."""

FEW_EPOCHS = 3
"""The epochs up to which the x axis has parts of epochs as well."""

MOST_NAMED = 24
"""The most entries of a legend."""

EXPLODED = 10
"""The multiple of the highest loss in view above which the losses of a training start on a log scale."""

FAR_APART = 30
"""The ratio of lr peaks above which the lrs of several runs are drawn on a log scale."""

Spec = dict[str, Any]
TEXT = "currentColor"
X = "x"


@dataclass(frozen=True)
class RangeTests:
    """The range tests of one setting: a label, the smooth curves, and the lr to mark, or None."""

    label: str
    shape: Shape
    mark: float | None


@dataclass(frozen=True)
class Training:
    """A training: a label, and the rows of `steps.csv` and `epochs.csv`. `steps_per_epoch` places steps on the x axis.

    Runs with the same label differ only in their seed, and have the same colour.
    """

    label: str
    steps: Sequence[Mapping[str, float]]
    epochs: Sequence[Mapping[str, float]]
    steps_per_epoch: float


@dataclass(frozen=True)
class Place:
    """The place of a statement in the curves of a training, from `first` to `last` in epochs, and its number."""

    number: int
    first: float
    last: float


def color(number: int) -> str:
    """Returns the colour of curve `number`, as a variable of the page."""
    return f"var(--c{number % COLORS})"


def dash(number: int) -> list[int]:
    """Returns the line style of curve `number`. Each round of colours shifts the styles."""
    return DASHES[(number // COLORS) % len(DASHES)]


def rounded(value: float | None) -> float | None:
    """Returns a number with the digits that a figure can show; None if it is not finite, which is a gap."""
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")


def range_test_figure(
    name: str,
    *,
    title: str,
    tests: Sequence[tuple[Sequence[float], Sequence[float]]],
    shape: Shape,
    suggestion: Suggestion | None,
    valid: Sequence[tuple[float, float]] = (),
) -> Figure:
    """Returns the loss over log lr, with the suggestion, the band around it, and the answers of other libraries."""
    each = max(FEWEST_A_CURVE, MOST_A_CURVE // len(tests))
    raw: dict[str, list[Any]] = {X: [], "y": [], "test": []}
    for number, (lrs, losses) in enumerate(tests):
        for i in thinned(losses, each):
            _add(raw, x=rounded(lrs[i]), y=rounded(losses[i]), test=number)
    smooth = _shape_columns(shape)
    finite = [loss for _, losses in tests for loss in losses if math.isfinite(loss)]
    ceiling = _height(shape.median.tolist(), finite) if finite else None
    y = _y("loss", ceiling)
    layers: list[Spec] = []
    legend = [
        LegendEntry("train loss of each batch" + (f", {len(tests)} tests" if len(tests) > 1 else ""), None),
        LegendEntry("smoothed", 0),
    ]
    data: dict[str, Any] = {"raw": raw, **({"smooth": smooth} if smooth[X] else {})}
    said = [f"Learning rate range test from lr {tests[0][0][0]:.3g} to {tests[0][0][-1]:.3g}."]
    if len(shape.median):
        low = int(shape.median.argmin())
        said.append(f"The smoothed loss is {shape.median[0]:.4g} at first, and least, {shape.median[low]:.4g},")
        said[-1] += f" at lr {shape.lrs[low]:.3g}."
    if suggestion is not None and suggestion.max_lr is not None:
        _add_suggestion(suggestion, layers, legend, data, said)
    layers.append(
        {
            "data": {"name": "raw"},
            "mark": {"type": "line", "color": TEXT, "opacity": 0.4, "strokeWidth": 0.8, "clip": True},
            "encoding": {"x": _lr(), "y": y, "detail": {"field": "test"}},
        }
    )
    if len(tests) > 1 and smooth[X]:
        layers.append(_band("smooth", color(0), y))
        legend.append(LegendEntry("from the lowest to the highest test", 0, "band"))
    if smooth[X]:
        layers.append(_curve("smooth", color(0), y, width=2.4))
    if valid:
        data["valid"] = {X: [rounded(lr) for lr, _ in valid], "y": [rounded(loss) for _, loss in valid]}
        mark = {"type": "point", "filled": True, "color": color(2), "size": 36, "opacity": 1, "clip": True}
        layers.append({"data": {"name": "valid"}, "mark": mark, "encoding": {"x": _lr(), "y": y}})
        legend.append(LegendEntry("validation loss", 2, "mark"))
    peers = {} if suggestion is None else {rule: lr for rule, lr in suggestion.peers.items() if lr is not None}
    if peers:
        data["peers"] = {X: list(peers.values()), "rule": list(peers)}
        layers.append(
            {
                "data": {"name": "peers"},
                "mark": {"type": "point", "shape": "triangle-up", "color": TEXT, "size": 60, "opacity": 1},
                "encoding": {
                    "x": _lr(),
                    "y": {"value": {"expr": "height - 8"}},
                    "tooltip": [{"field": "rule", "title": "rule"}, {"field": X, "title": "lr", "format": ".3~g"}],
                },
            }
        )
        answers = ", ".join(f"{rule} {lr:.2g}" for rule, lr in peers.items())
        legend.append(LegendEntry(f"other libraries' rules: {answers}", None, "mark"))
        said.append(f"The rules of other libraries suggest: {answers}.")
    tips = [{"field": X, "title": "lr", "format": ".3~g"}, {"field": "y", "title": "smoothed loss", "format": ".4f"}]
    if smooth[X]:
        layers.append(_hover("smooth", y, tips, _lr()))
    return Figure(name, title, " ".join(said), [Panel("loss", _chart(layers, 320), can_log=True)], data, legend)


def _add_suggestion(
    found: Suggestion, layers: list[Spec], legend: list[LegendEntry], data: dict[str, Any], said: list[str]
) -> None:
    """Adds the lrs of a suggestion as lines, and behind them the band in which the best max_lr is."""
    bar = found.error_bar
    if bar is not None:
        data["band"] = {"low": [bar.lowest_max_lr], "high": [bar.highest_max_lr]}
        layers.append(
            {
                "data": {"name": "band"},
                "mark": {"type": "rect", "color": color(1), "opacity": 0.14, "clip": True},
                "encoding": {"x": _lr("low"), "x2": {"field": "high"}},
            }
        )
    marks = [("max_lr", found.max_lr, [1, 0], 2.4), ("conservative_max_lr", found.conservative_max_lr, [2, 3], 1.6)]
    for label, lr, dashes, width in marks:
        data[label] = {X: [lr], "mark": [label]}
        look = {"type": "rule", "color": color(1), "strokeWidth": width, "strokeDash": dashes, "clip": True}
        tips = [{"field": "mark", "title": "mark"}, {"field": X, "title": "lr", "format": ".3~g"}]
        layers.append({"data": {"name": label}, "mark": look, "encoding": {"x": _lr(), "tooltip": tips}})
    legend.append(LegendEntry(f"max_lr {found.max_lr:g}, confidence {found.confidence}", 1))
    said.append(f"It suggests max_lr {found.max_lr:g} with {found.confidence} confidence.")
    if bar is not None:
        band = f"from {bar.lowest_max_lr:g} to {bar.highest_max_lr:g}"
        legend.append(LegendEntry(f"best max_lr {band} (90 %)", 1, "band"))
        said.append(f"With a probability of 90 %, the best max_lr is {band}.")
    legend.append(LegendEntry(f"conservative_max_lr {found.conservative_max_lr:g}", 1, "dashed"))


def overlay_figure(name: str, *, title: str, tests: Sequence[RangeTests], mark: str, chosen: str | None) -> Figure:
    """Returns the smooth losses of several settings over log lr, each with its mark; the `chosen` one is bold."""
    looks = _looks([test.label for test in tests])
    domain = list(looks)
    curves: dict[str, list[Any]] = {X: [], "y": [], "run": [], "n": []}
    marks: dict[str, list[Any]] = {X: [], "y": [], "run": []}
    each = _each(len(tests), max((len(test.shape.lrs) for test in tests), default=0))
    for number, test in enumerate(tests):
        columns = _shape_columns(test.shape, each)
        for lr, loss in zip(columns[X], columns["y"], strict=True):
            _add(curves, x=lr, y=loss, run=looks[test.label], n=number)
        if test.mark is not None and len(test.shape.lrs):
            near = int(abs(test.shape.lrs - test.mark).argmin())
            _add(marks, x=rounded(test.mark), y=rounded(float(test.shape.median[near])), run=looks[test.label])
    losses = [float(loss) for test in tests for loss in test.shape.median]
    y = _y("smoothed loss", _height(losses, losses) if losses else None)
    line: Spec = {"type": "line", "clip": True, "strokeWidth": 1.6}
    encoding = {"x": _lr(), "y": y, "detail": {"field": "n"}, **_colored(domain, looks)}
    layers: list[Spec] = [{"data": {"name": "curves"}, "mark": line, "encoding": encoding}]
    data = {"curves": curves}
    if marks[X]:
        data["marks"] = marks
        triangle = {"type": "point", "filled": True, "shape": "triangle-down", "size": 110, "opacity": 1, "clip": True}
        encoding_of_marks = {"x": _lr(), "y": y, **_colored(domain, looks, dashed=False)}
        layers.append({"data": {"name": "marks"}, "mark": triangle, "encoding": encoding_of_marks})
    if chosen in looks:
        own = [i for i, run in enumerate(curves["run"]) if run == looks[chosen]]
        data["chosen"] = {name: [column[i] for i in own] for name, column in curves.items()}
        layers.append({"data": {"name": "chosen"}, "mark": {**line, "strokeWidth": 4}, "encoding": encoding})
    tips = [
        {"field": "run", "title": "run"},
        {"field": X, "title": "lr", "format": ".3~g"},
        {"field": "y", "title": "smoothed loss", "format": ".4f"},
    ]
    if len(curves[X]) <= MOST_HOVERED:
        layers.append(_hover("curves", y, tips, _lr()))
    told = [f"{test.label}: {test.mark:.3g}" for test in tests if test.mark is not None]
    said = f"Smoothed losses of {len(tests)} range tests over lr. A triangle marks the {mark}: {_listed(told)}."
    legend = _legend(looks, chosen)
    return Figure(
        name,
        title,
        said,
        [Panel("smoothed loss", _chart(layers, 320), can_log=True)],
        data,
        legend,
        note=f"A triangle marks the {mark}.",
        labels=domain,
    )


def training_figure(name: str, *, title: str, trainings: Sequence[Training], places: Sequence[Place] = ()) -> Figure:
    """Returns losses, validation accuracy, lr and momentum over the epochs, of one run or of several overlaid.

    With one run, the train loss of each step is drawn too, and the places of statements as bands with their numbers.
    """
    looks = _looks([training.label for training in trainings])
    domain = list(looks)
    alone = len(trainings) == 1
    steps: dict[str, list[Any]] = {X: [], "step": [], "loss": [], "lr": [], "momentum": [], "run": [], "n": []}
    scores = ("train_loss", "valid_loss", "valid_accuracy", *(("train_accuracy",) if alone else ()))
    epochs: dict[str, list[Any]] = {X: [], **{score: [] for score in scores}, "run": [], "n": []}
    each = _each(len(trainings), max(len(training.steps) for training in trainings))
    for number, training in enumerate(trainings):
        kept = thinned([row["train_loss"] if alone else row["lr"] for row in training.steps], each)
        for row in (training.steps[i] for i in kept):
            at = (row["step"] + 1) / training.steps_per_epoch
            values = {"lr": rounded(row["lr"]), "momentum": rounded(row["momentum"])}
            _add(steps, x=rounded(at), step=row["step"], loss=rounded(row["train_loss"]), **values)
            _add(steps, run=looks[training.label], n=number)
        kept = thinned([row.get("valid_loss") for row in training.epochs], each)
        for row in (training.epochs[i] for i in kept):
            values = {score: rounded(row.get(score)) for score in scores}
            _add(epochs, x=row["epoch"], run=looks[training.label], n=number, **values)
    if not alone:
        del steps["loss"]
    data: dict[str, Any] = {"steps": steps, "epochs": epochs}
    if places:
        data["places"] = {
            "first": [place.first for place in places],
            "last": [place.last for place in places],
            "number": [str(place.number) for place in places],
        }
    panels = _own_panels(data, places) if alone else _loss_panels(data, domain, looks)
    if not alone and any(value is not None for value in epochs["valid_accuracy"]):
        panels.append(Panel("validation accuracy", _over_epochs(data, "valid_accuracy", domain, looks, height=170)))
    panels += [Panel(name, _over_steps(data, name, domain, looks)) for name in ("lr", "momentum")]
    last = max([*steps[X], *epochs[X]])
    panels = [replace(panel, spec=_from_to(panel.spec, 0.0, last)) for panel in panels]
    drawn = len(steps[X])
    total = sum(len(training.steps) for training in trainings)
    thin = None if drawn == total else f"Drawn from {drawn:,} of {total:,} steps, with the peaks kept."
    legend = [] if alone else _legend(looks, None)
    exploded = alone and _has_exploded(steps["loss"])
    said = _told(trainings)
    return Figure(name, title, said, panels, data, legend, note=thin, labels=domain, starts_log=exploded)


def _has_exploded(losses: Sequence[float | None]) -> bool:
    """Whether most of the curve would lie outside of a linear view."""
    finite = [loss for loss in losses if loss is not None]
    return bool(finite) and finite[0] > 0 and max(finite) > EXPLODED * 2 * finite[0]


def _from_to(spec: Mapping[str, Any], first: float, last: float) -> Spec:
    """Returns a chart with these ends of its x axis, so that all charts of a figure have the same."""
    layers = []
    for layer in spec["layer"]:
        x = layer["encoding"]["x"]
        whole_epochs = {"tickMinStep": 1} if last > FEW_EPOCHS else {}
        scaled = {**x, "scale": {**x["scale"], "domain": [first, last]}, "axis": {**x["axis"], **whole_epochs}}
        layers.append({**layer, "encoding": {**layer["encoding"], "x": scaled}})
    return {**spec, "layer": layers}


def _loss_panels(data: Mapping[str, Any], domain: Sequence[str], looks: Mapping[str, int]) -> list[Panel]:
    """Returns the train losses and the validation losses of several runs."""
    names = {"train_loss": "train loss", "valid_loss": "validation loss"}
    charts = {shown: _over_epochs(data, c, domain, looks) for c, shown in names.items() if _has(data["epochs"], c)}
    return [Panel(shown, chart, can_log=True) for shown, chart in charts.items()]


def _has(columns: Mapping[str, Sequence[Any]], column: str) -> bool:
    return any(value is not None for value in columns[column])


def _own_panels(data: Mapping[str, Any], places: Sequence[Place]) -> list[Panel]:
    """Returns the losses and the accuracies of one run: those of training beside those of validation."""
    epochs = data["epochs"]
    panels = [Panel("loss", chart, True, _loss_legend(epochs, places))] if (chart := _own_losses(data)) else []
    names = {"train_accuracy": "train accuracy", "valid_accuracy": "validation accuracy"}
    drawn = {column: number for number, column in enumerate(names) if _has(epochs, column)}
    if drawn:
        y = _y("", _room([value for column in drawn for value in epochs[column] if value is not None]))
        tips = [{"field": X, "title": "epoch"}, *({"field": c, "title": names[c], "format": ".4f"} for c in drawn)]
        hover = _hover("epochs", {**y, "field": list(drawn)[-1]}, tips, _epoch())
        layers = [*_place_layers(data), *(_score(column, number, y) for column, number in drawn.items()), hover]
        legend = [LegendEntry(names[column], number) for column, number in drawn.items()]
        title = "accuracy" if len(drawn) > 1 else names[next(iter(drawn))]
        panels.append(Panel(title, _chart(layers, 170), legend=legend))
    return panels


def _own_losses(data: Mapping[str, Any]) -> Spec | None:
    """Returns the chart of the losses of one run; None if none is finite."""
    epochs = data["epochs"]
    losses = [loss for loss in data["steps"]["loss"] if loss is not None]
    smooth = [loss for name in ("train_loss", "valid_loss") for loss in epochs[name] if loss is not None]
    if not (losses or smooth):
        return None  # not finite from the first step on
    firsts = [*losses[:1], *smooth]
    low, high = _height(firsts, [*losses, *smooth])
    if smooth:  # a peak of an epoch is seen whole, where that leaves the rest its room
        high = max(high, _height(firsts, smooth, room=2)[1])
    y = _y("", (low, high))
    layers = _place_layers(data)
    raw = {"type": "line", "color": TEXT, "opacity": 0.4, "strokeWidth": 0.8, "clip": True}
    layers.append({"data": {"name": "steps"}, "mark": raw, "encoding": {"x": _epoch(), "y": {**y, "field": "loss"}}})
    layers += [_score(column, n, y) for n, column in enumerate(("train_loss", "valid_loss"))] if epochs[X] else []
    shown = ("train_loss", "valid_loss", "valid_accuracy")
    tips = [{"field": X, "title": "epoch"}, *({"field": name, "title": name, "format": ".4f"} for name in shown)]
    if epochs[X]:
        layers.append(_hover("epochs", {**y, "field": "valid_loss"}, tips, _epoch()))
    return _chart(layers, 260)


def _score(column: str, number: int, y: Spec) -> Spec:
    """Returns the curve of a column of `epochs.csv` of one run."""
    point = {"filled": True, "color": color(number), "size": 28}
    mark = {"type": "line", "color": color(number), "strokeWidth": 2, "clip": True, "point": point}
    return {"data": {"name": "epochs"}, "mark": mark, "encoding": {"x": _epoch(), "y": {**y, "field": column}}}


def _over_epochs(
    data: Mapping[str, Any], column: str, domain: Sequence[str], looks: Mapping[str, int], height: int = 220
) -> Spec:
    """Returns a chart of a column of `epochs.csv`, a curve a run."""
    values = [value for value in data["epochs"][column] if value is not None]
    is_loss = column.endswith("loss")
    firsts = _firsts(data["epochs"], column)
    ceiling = _height([sorted(firsts)[len(firsts) // 2], *values], values) if is_loss and values else None
    y = _y("", ceiling if is_loss else _room(values)) | {"field": column}
    mark = {"type": "line", "strokeWidth": 1.8, "clip": True, "point": {"filled": True, "size": 22}}
    encoding = {"x": _epoch(), "y": y, "detail": {"field": "n"}, **_colored(domain, looks)}
    layers = [*_place_layers(data), {"data": {"name": "epochs"}, "mark": mark, "encoding": encoding}]
    tips = [{"field": "run", "title": "run"}, {"field": X, "title": "epoch"}]
    tips.append({"field": column, "title": column, "format": ".4f"})
    if len(data["epochs"][X]) <= MOST_HOVERED:
        layers.append(_hover("epochs", y, tips, _epoch()))
    return _chart(layers, height)


def _over_steps(data: Mapping[str, Any], column: str, domain: Sequence[str], looks: Mapping[str, int]) -> Spec:
    """Returns a chart of lr or momentum."""
    values = [value for value in data["steps"][column] if value is not None]
    y = _y("", _room([0.0, *values] if column == "lr" else values) if values else None) | {"field": column}
    if column == "lr" and _are_far_apart(data["steps"]):
        y["scale"] = {"type": "log"}
    mark = {"type": "line", "strokeWidth": 1.8, "clip": True}
    encoding = {"x": _epoch(), "y": y, "detail": {"field": "n"}, **_colored(domain, looks)}
    layers = [*_place_layers(data), {"data": {"name": "steps"}, "mark": mark, "encoding": encoding}]
    tips = [{"field": "step"}, {"field": X, "title": "epoch", "format": ".2f"}]
    tips += [{"field": name, "format": ".4~g"} for name in ("lr", "momentum")]
    if len(data["steps"][X]) <= MOST_HOVERED:
        layers.append(_hover("steps", y, tips, _epoch()))
    return _chart(layers, 130)


def _are_far_apart(steps: Mapping[str, Sequence[Any]]) -> bool:
    """Whether the peaks of the runs are so different that the lower ones would lie on the axis."""
    peaks: dict[Any, float] = {}
    for run, lr in zip(steps["n"], steps["lr"], strict=True):
        peaks[run] = max(peaks.get(run, 0.0), lr or 0.0)
    return min(peaks.values()) > 0 and max(peaks.values()) > FAR_APART * min(peaks.values())


def _place_layers(data: Mapping[str, Any]) -> list[Spec]:
    """Returns the bands of the statements, with their numbers at the top."""
    if "places" not in data:
        return []
    band = {"x": _epoch("first"), "x2": {"field": "last"}}
    rect = {"type": "rect", "color": color(4), "opacity": 0.16, "clip": True}
    number = {"type": "text", "align": "left", "baseline": "top", "dx": 3, "dy": 3, "color": TEXT, "fontWeight": "bold"}
    return [
        {"data": {"name": "places"}, "mark": rect, "encoding": band},
        {
            "data": {"name": "places"},
            "mark": {**number, "clip": True},
            "encoding": {"x": _epoch("first"), "y": {"value": 0}, "text": {"field": "number"}},
        },
    ]


def _told(trainings: Sequence[Training]) -> str:
    """Returns what the curves of trainings show, in sentences."""
    ends = []
    for training in trainings[:MOST_NAMED]:
        who = f"{training.label}: " if len(trainings) > 1 else ""
        if not training.epochs:
            ends.append(f"{who}{len(training.steps):,} steps, no epoch has ended.")
            continue
        last = training.epochs[-1]
        accuracy, loss = last.get("valid_accuracy", math.nan), last.get("valid_loss", math.nan)
        ends.append(
            f"{who}{len(training.epochs)} epochs, train loss {last.get('train_loss', math.nan):.4g}, "
            f"validation loss {loss:.4g}, validation accuracy {accuracy:.4f}."
        )
    more = [f"And {len(trainings) - MOST_NAMED} more."] if len(trainings) > MOST_NAMED else []
    return " ".join(["Losses, accuracy, lr and momentum over the epochs.", *ends, *more])


@dataclass(frozen=True)
class Axis:
    """An axis of parallel coordinates: its name, the height of each row from 0 to 1 (None: no value), and its labels.

    `labels` are pairs of height and text.
    """

    name: str
    heights: Sequence[float | None]
    labels: Sequence[tuple[float, str]]


def parallel_figure(
    name: str, *, title: str, axes: Sequence[Axis], names: Sequence[str], shades: Sequence[float]
) -> Figure:
    """Returns parallel coordinates: a line for each row across the axes. `shades` are from 0 (best) to 1."""
    order = [axis.name for axis in axes]
    lines: dict[str, list[Any]] = {"axis": [], "height": [], "row": [], "shade": []}
    labels: dict[str, list[Any]] = {"axis": [], "height": [], "text": []}
    for axis in axes:
        for row, height in enumerate(axis.heights):
            _add(lines, axis=axis.name, height=rounded(height), row=names[row], shade=rounded(shades[row]))
        for height, text in axis.labels:
            _add(labels, axis=axis.name, height=rounded(height), text=text)
    across = {
        "field": "axis", "type": "nominal", "sort": order, "title": None, "scale": {"type": "point", "padding": 0.3},
        "axis": {
            "labelAngle": 0, "grid": True, "domain": False, "ticks": False, "labelFontWeight": "bold",
            "labelExpr": "split(replace(datum.label, regexp('_', 'g'), '_|'), '|')",
        },
    }  # fmt: skip
    up = {"field": "height", "type": "quantitative", "axis": None, "scale": {"domain": [-0.06, 1.06]}}
    opacity, width = (
        {"field": "shade", "type": "quantitative", "scale": {"domain": [0, 1], "range": ends}, "legend": None}
        for ends in ([1, 0.25], [3.2, 1])
    )
    label: Spec = {"type": "text", "align": "left", "dx": 5, "color": TEXT, "fontSize": 11}
    layers: list[Spec] = [
        {
            "data": {"name": "lines"},
            "mark": {"type": "line", "color": color(0), "tooltip": True},
            "encoding": {
                "x": across,
                "y": up,
                "detail": {"field": "row"},
                "opacity": opacity,
                "strokeWidth": width,
                "tooltip": [{"field": "row", "title": "cell"}],
            },
        },
    ]
    # The lines end where the labels stand, so each label has the background of the page around it.
    for look in ({**label, "stroke": "var(--card)", "strokeWidth": 4}, label):
        labelled = {"x": across, "y": up, "text": {"field": "text"}}
        layers.append({"data": {"name": "labels"}, "mark": look, "encoding": labelled})
    said = f"Parallel coordinates of {len(names)} cells over {', '.join(order)}."
    note = "Each line is a cell."
    if len(set(shades)) > 1:
        said += f" The best cell is {names[min(range(len(shades)), key=shades.__getitem__)]}."
        note = "Each line is a cell; the darker and thicker, the better."
    panel = Panel("", _chart(layers, 300))
    return Figure(name, title, said, [panel], {"lines": lines, "labels": labels}, note=note, can_zoom=False)


def speeds_figure(
    name: str, *, title: str, sizes: Sequence[int], speeds: Sequence[float], chosen: int | None
) -> Figure:
    """Returns the images per second of each batch size, with the chosen one marked."""
    data: dict[str, Any] = {"sizes": {X: list(sizes), "y": [rounded(speed) for speed in speeds]}}
    x = {
        "field": X, "type": "quantitative", "title": "batch size", "scale": {"type": "log", "base": 2},
        "axis": {"values": list(sizes), "format": "d", "labelOverlap": True},
    }  # fmt: skip
    y = {"field": "y", "type": "quantitative", "title": "images a second", "axis": {"format": "~s"}}
    tips = [{"field": X, "title": "batch size"}, {"field": "y", "title": "images a second", "format": ",.0f"}]
    mark = {"type": "line", "color": color(0), "point": {"filled": True, "size": 45, "color": color(0)}}
    layers: list[Spec] = [{"data": {"name": "sizes"}, "mark": mark, "encoding": {"x": x, "y": y, "tooltip": tips}}]
    if chosen is not None:
        data["chosen"] = {X: [chosen]}
        rule = {"type": "rule", "color": color(1), "strokeWidth": 2}
        layers.append({"data": {"name": "chosen"}, "mark": rule, "encoding": {"x": x}})
    layers.append(_hover("sizes", y, tips, x))
    told = _listed([f"{size:,}: {speed:,.0f}" for size, speed in zip(sizes, speeds, strict=True)])
    legend = [LegendEntry("images a second", 0)]
    if chosen is not None:
        legend.append(LegendEntry(f"batch size {chosen:,}", 1))
    return Figure(
        name, title, f"Images a second by batch size. {told}.", [Panel("", _chart(layers, 220))], data, legend
    )


def _chart(layers: Sequence[Spec], height: int) -> Spec:
    return {"width": "container", "height": height, "layer": list(layers)}


def _lr(field: str = X) -> Spec:
    axis = {"format": "~g", "labelOverlap": True, "tickCount": 6}
    scale = {"type": "log", "nice": False}
    return {"field": field, "type": "quantitative", "title": "learning rate", "scale": scale, "axis": axis}


def _epoch(field: str = X) -> Spec:
    axis = {"labelOverlap": True}
    scale = {"nice": False, "zero": False}
    return {"field": field, "type": "quantitative", "title": "epoch", "scale": scale, "axis": axis}


def _y(title: str, limits: tuple[float, float] | None) -> Spec:
    scale: Spec = {"zero": False}
    if limits is not None:
        scale["domain"] = [rounded(limit) for limit in limits]
    return {"field": "y", "type": "quantitative", "title": title or None, "scale": scale, "axis": {"tickCount": 5}}


def _curve(name: str, shade: str, y: Spec, width: float) -> Spec:
    mark = {"type": "line", "color": shade, "strokeWidth": width, "clip": True}
    return {"data": {"name": name}, "mark": mark, "encoding": {"x": _lr(), "y": y}}


def _band(name: str, shade: str, y: Spec) -> Spec:
    mark = {"type": "area", "color": shade, "opacity": 0.18, "clip": True}
    encoding = {"x": _lr(), "y": {**y, "field": "low"}, "y2": {"field": "high"}}
    return {"data": {"name": name}, "mark": mark, "encoding": encoding}


def _hover(name: str, y: Spec, tips: Sequence[Spec], x: Spec) -> Spec:
    """Returns invisible points, of which the nearest one to the pointer shows itself and its numbers."""
    opacity = {"condition": {"param": "near", "empty": False, "value": 1}, "value": 0}
    near = {"type": "point", "nearest": True, "on": "pointerover", "clear": "pointerout"}
    return {
        "data": {"name": name},
        "params": [{"name": "near", "select": near}],
        "mark": {"type": "point", "filled": True, "size": 60, "color": TEXT, "clip": True},
        "encoding": {"x": x, "y": y, "opacity": opacity, "tooltip": list(tips)},
    }


def _colored(domain: Sequence[str], looks: Mapping[str, int], *, dashed: bool = True) -> Spec:
    """Returns the colour and line style of each run, by its label."""
    colors = [color(looks[label]) for label in domain]
    found: Spec = {"color": {"field": "run", "type": "nominal", "legend": None}}
    found["color"]["scale"] = {"domain": list(domain), "range": colors}
    if dashed:
        styles = [dash(looks[label]) for label in domain]
        scale = {"domain": list(domain), "range": styles}
        found["strokeDash"] = {"field": "run", "type": "nominal", "legend": None, "scale": scale}
    return found


def _looks(labels: Sequence[str]) -> dict[str, int]:
    return {label: number for number, label in enumerate(dict.fromkeys(labels))}


def _legend(looks: Mapping[str, int], chosen: str | None) -> list[LegendEntry]:
    if len(looks) == 1 and chosen is None:
        return []
    shown = [
        LegendEntry(f"{label} (chosen)" if label == chosen else label, number, dash=(number // COLORS) % len(DASHES))
        for label, number in list(looks.items())[:MOST_NAMED]
    ]
    if len(looks) > MOST_NAMED:
        shown.append(LegendEntry(f"and {len(looks) - MOST_NAMED} more", None, "none"))
    return shown


def _loss_legend(epochs: Mapping[str, Sequence[Any]], places: Sequence[Place]) -> list[LegendEntry]:
    of_epochs = [LegendEntry("train loss of each epoch", 0), LegendEntry("validation loss", 1)]
    shaded = [LegendEntry(f"statement {place.number}, {_from(place.first)}", 4, "band") for place in places]
    return [LegendEntry("train loss of each step", None), *(of_epochs if epochs[X] else []), *shaded]


def _from(epochs: float) -> str:
    """Returns where a place begins on the axis, on which an epoch reaches from the end of the one before to its own."""
    if epochs == 0:
        return "from the start"
    return f"from the end of epoch {epochs:.0f}" if float(epochs).is_integer() else f"from epoch {epochs:.4g}"


def _shape_columns(shape: Shape, each: int = MOST_A_CURVE) -> dict[str, list[Any]]:
    kept = thinned(shape.median.tolist(), each)
    columns = {X: shape.lrs, "y": shape.median, "low": shape.low, "high": shape.high}
    return {name: [rounded(float(values[i])) for i in kept] for name, values in columns.items()}


def _each(curves: int, longest: int) -> int:
    """Returns the most points of each curve, where so many are drawn together."""
    return min(longest, max(FEWEST_A_CURVE, min(MOST_A_CURVE, MOST_POINTS // max(1, curves))))


def _firsts(columns: Mapping[str, Sequence[Any]], column: str) -> list[float]:
    """Returns the first value of each run that has one."""
    found: dict[Any, float] = {}
    for run, value in zip(columns["n"], columns[column], strict=True):
        if value is not None:
            found.setdefault(run, value)
    return list(found.values())


def _room(values: Sequence[float]) -> tuple[float, float]:
    """Returns limits with a margin, so that no curve lies on the edge of its chart; without one below zero."""
    low, high = min(values), max(values)
    margin = 0.05 * (high - low or abs(low) or 1)
    return (max(0.0, low - margin) if low >= 0 else low - margin), high + margin


def _height(from_first: Sequence[float], drawn: Sequence[float], room: float = 1) -> tuple[float, float]:
    """Returns the limits of the losses shown, so that an explosion does not flatten the rest of the curve.

    They end `room` times as far above the first of `from_first` as that is above the lowest, or at the highest drawn.
    """
    low = min(drawn)
    first = from_first[0] if from_first else max(drawn)
    top = min(max(drawn), first + room * max(first - low, 0.1))
    margin = 0.05 * (top - low or 1 + abs(low))
    return low - margin, top + margin


def _add(columns: dict[str, list[Any]], **values: Any) -> None:
    for name, value in values.items():
        columns[name].append(value)


def _listed(parts: Sequence[str]) -> str:
    more = [f"and {len(parts) - MOST_NAMED} more"] if len(parts) > MOST_NAMED else []
    return "; ".join([*parts[:MOST_NAMED], *more])
