"""The figures of a run, from plain columns to PNG, without a display or pyplot state.

Each function accepts any text, and returns the characters that no font has, which are drawn as escapes.

Colours are those of Okabe and Ito, which colour-blind readers can distinguish; line styles and markers distinguish the
curves in grey.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from onecycle_cli.analysis.lr_range import Shape, Suggestion
from onecycle_cli.figures.page import Page, new_page
from onecycle_cli.figures.view import loss_limits

BLUE, ORANGE, GREEN, RED, PURPLE, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#666666"
COLORS, STYLES = (BLUE, RED, GREEN, ORANGE, PURPLE, "black"), ("-", "--", "-.", ":")
FAR_APART = 30
"""The ratio of lr peaks above which a comparison has a log scale; on a linear scale the lower curves would lie on the
axis."""

MOST_LABELS = 12
"""The most entries in a shared legend; more are too many to read."""

LONGEST_NAME = 40
"""The longest name, in characters, beside a confusion matrix or in a legend inside a panel; longer ones leave no room
for the plot."""

PEER_MARKERS = "sD^v<>ph"

Column = Sequence[float | None]
Look = dict[str, Any]
"""The keyword arguments of matplotlib that draw a curve."""


@dataclass(frozen=True)
class Overlaid:
    """The range tests of one value in an overlay; `mark` is the lr to mark, or None."""

    label: str
    shape: Shape
    mark: float | None


@dataclass(frozen=True)
class Trained:
    """A training run in a comparison, up to its last step: the rows of `steps.csv` and of `epochs.csv`."""

    label: str
    steps: Sequence[Mapping[str, float]]
    epochs: Sequence[Mapping[str, float]]


def plot_lr_range(
    path: Path,
    *,
    title: str,
    tests: Sequence[tuple[Sequence[float], Sequence[float]]],
    shape: Shape,
    suggestion: Suggestion,
    valid: Sequence[tuple[float, float]] = (),
) -> str:
    """Plots the loss over log lr, with our suggestion, its error bar, and those of the peers.

    `tests` holds the lrs and losses of each test, `shape` their combined smooth curves, `valid` pairs of lr and
    validation loss.
    """
    with new_page(path, 9, 5.5) as page:
        axes = page.figure.add_subplot()
        label = "train loss of each batch" if len(tests) == 1 else f"{len(tests)} tests, train loss of each batch"
        for number, (lrs, losses) in enumerate(tests):
            axes.plot(lrs, losses, color=GREY, linewidth=0.8, alpha=0.5, label=None if number else label)
        axes.plot(shape.lrs, shape.median, color=BLUE, linewidth=2.2, label="smoothed")
        if len(tests) > 1:
            axes.fill_between(shape.lrs, shape.low, shape.high, color=BLUE, alpha=0.2, label="from lowest to highest")
        if valid:
            axes.plot(*zip(*valid, strict=True), "o", color=GREEN, markersize=4, label="validation loss")
        axes.set(xscale="log", xlabel="learning rate", ylabel="loss", title=page.text(title))
        if len(shape.median):
            finite = [loss for _, losses in tests for loss in losses if math.isfinite(loss)]
            _limit_height(axes, shape.median.tolist(), min(finite))
        if suggestion.max_lr is not None:
            _mark(axes, suggestion)
        for (name, lr), marker in zip(suggestion.peers.items(), PEER_MARKERS, strict=False):
            if lr is not None:
                # The marks stand in a row above the axis, apart from the curve.
                look: Look = {"marker": marker, "markerfacecolor": "white", "markeredgecolor": "black", "markersize": 8}
                where: Look = {"transform": axes.get_xaxis_transform(), "linestyle": "none", "clip_on": False}
                axes.plot([lr], [0.03], label=f"{name} {lr:.2g}", **look, **where)
        _grid(axes)
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return page.missing


def _mark(axes: Axes, suggestion: Suggestion) -> None:
    """Draws the lrs of a suggestion as lines, and the lrs among which the best max_lr is as a band behind them."""
    max_lr, conservative, bar = suggestion.max_lr, suggestion.conservative_max_lr, suggestion.error_bar
    assert max_lr is not None
    assert conservative is not None
    axes.axvline(max_lr, color=RED, linewidth=2.2, label=f"max_lr {max_lr:g}, confidence {suggestion.confidence}")
    if bar is not None:
        best = f"best max_lr from {bar.lowest_max_lr:g} to {bar.highest_max_lr:g} (90 %)"
        axes.axvspan(bar.lowest_max_lr, bar.highest_max_lr, color=RED, alpha=0.12, linewidth=0, label=best)
    label = f"conservative_max_lr {conservative:g}"
    axes.axvline(conservative, color=RED, linewidth=1.4, linestyle=":", label=label)


def plot_training(path: Path, *, title: str, steps: Mapping[str, Column], epochs: Mapping[str, Column]) -> str:
    """Plots the losses, accuracy, lr and momentum of a run, in panels with a shared step axis.

    `steps` and `epochs` are the columns of `steps.csv` and `epochs.csv`. The lrs of layer groups are drawn on a log
    scale, with gaps while a group is frozen.
    """
    with new_page(path, 9, 9.5) as page:
        losses, accuracies, lrs, momentums = page.figure.subplots(4, sharex=True, height_ratios=[3, 3, 2, 2])
        at = epochs["step"]
        losses.plot(steps["step"], steps["train_loss"], color=GREY, linewidth=0.6, alpha=0.5, label="train, each batch")
        losses.plot(at, epochs["train_loss"], color=BLUE, marker=".", label="train, epoch")
        losses.plot(at, epochs["valid_loss"], color=RED, marker=".", linestyle="--", label="validation")
        losses.set(ylabel="loss", title=page.text(title))
        accuracies.plot(at, epochs["train_accuracy"], color=BLUE, marker=".", label="train")
        accuracies.plot(at, epochs["valid_accuracy"], color=RED, marker=".", linestyle="--", label="validation")
        accuracies.set(ylabel="accuracy")
        groups = [name for name in steps if name.startswith("lr_")]
        for number, group in enumerate(groups):
            values = [math.nan if lr is None else lr for lr in steps[group]]
            lrs.plot(steps["step"], values, label=group.removeprefix("lr_"), **_look(number))
        if groups:
            lrs.set(yscale="log")
            lrs.legend(frameon=False, loc="center left", bbox_to_anchor=(1.01, 0.5))
        else:
            lrs.plot(steps["step"], steps["lr"], color="black")
        lrs.set(ylabel="lr")
        momentums.plot(steps["step"], steps["momentum"], color="black")
        momentums.set(ylabel="momentum", xlabel="step")
        for axes in (losses, accuracies):
            axes.legend(frameon=False)
        for axes in (losses, accuracies, lrs, momentums):
            _grid(axes)
    return page.missing


def plot_schedule(path: Path, *, title: str, lrs: Sequence[float], momentums: Sequence[float]) -> str:
    """Plots lr and momentum over the steps."""
    with new_page(path, 9, 5.5) as page:
        upper, lower = page.figure.subplots(2, sharex=True)
        upper.plot(lrs, color=BLUE)
        upper.set(ylabel="lr", title=page.text(title))
        lower.plot(momentums, color=RED)
        lower.set(ylabel="momentum", xlabel="step")
        for axes in (upper, lower):
            _grid(axes)
    return page.missing


def plot_sweep(path: Path, *, title: str, curves: Sequence[Overlaid], fields: str, chosen: str | None) -> str:
    """Plots smooth losses over log lr, a curve per value of `fields`, the chosen one bold, a triangle at each mark."""
    with new_page(path, 9, 5.5) as page:
        axes = page.figure.add_subplot()
        for number, curve in enumerate(curves):
            wide = 3.4 if curve.label == chosen else 1.4
            label = f"{curve.label} (chosen)" if curve.label == chosen else curve.label
            _overlay(axes, curve, _look(number) | {"linewidth": wide, "label": page.label(label, LONGEST_NAME)})
        _limit_overlay(axes, curves)
        axes.set(xscale="log", xlabel="learning rate", ylabel="smoothed loss", title=page.text(title))
        _grid(axes)
        axes.legend(title=page.text(fields, LONGEST_NAME) + " (triangle: reach)", frameon=False)
    return page.missing


def plot_comparison(path: Path, *, trainings: Sequence[Trained], tests: Sequence[Overlaid]) -> str:
    """Plots training runs by losses, accuracy and lr, and range tests by smooth loss over lr.

    Runs with the same label have the same look and one legend entry. A triangle shows the mark of each range test.
    """
    names = [run.label for run in trainings] + [test.label for test in tests]
    looks = {name: _look(number) for number, name in enumerate(dict.fromkeys(names))}
    heights = [7.0] * bool(trainings) + [4.5] * bool(tests)
    with new_page(path, 10, sum(heights) + 0.5) as page:
        parts = iter(page.figure.subfigures(len(heights), height_ratios=heights, squeeze=False)[:, 0])
        if trainings:
            _add_trainings(next(parts), trainings, looks)
        if tests:
            axes = next(parts).add_subplot()
            for test in tests:
                _overlay(axes, test, looks[test.label] | {"linewidth": 1.4})
            _limit_overlay(axes, tests)
            axes.set(xscale="log", xlabel="learning rate", title="smoothed loss of range tests (triangle: max_lr)")
            _grid(axes)
        _shared_legend(page, looks)
    return page.missing


def _add_trainings(figure: SubFigure, trainings: Sequence[Trained], looks: Mapping[str, Look]) -> None:
    (train_loss, valid_loss), (accuracy, lr) = figure.subplots(2, 2)
    titles = {train_loss: "train loss", valid_loss: "validation loss", accuracy: "validation accuracy"}
    for axes, title in titles.items():
        column = title.replace("validation", "valid").replace(" ", "_")
        curves = [[epoch[column] for epoch in run.epochs] for run in trainings]
        for run, curve in zip(trainings, curves, strict=True):
            axes.plot([epoch["epoch"] for epoch in run.epochs], curve, marker=".", **looks[run.label])
        if axes is not accuracy:
            _limit_losses(axes, curves)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(title=title, xlabel="epoch")
        _grid(axes)
    for run in trainings:
        lr.plot([step["step"] for step in run.steps], [step["lr"] for step in run.steps], **looks[run.label])
    peaks = [max(step["lr"] for step in run.steps) for run in trainings]
    lr.set(title="lr", xlabel="step", yscale="log" if max(peaks) > FAR_APART * min(peaks) else "linear")
    _grid(lr)


def _overlay(axes: Axes, curve: Overlaid, look: Look) -> None:
    """Draws one curve with its band and its mark."""
    shape = curve.shape
    axes.plot(shape.lrs, shape.median, **look)
    if (shape.high > shape.low).any():
        axes.fill_between(shape.lrs, shape.low, shape.high, color=look["color"], alpha=0.12)
    if curve.mark is not None:
        height = np.interp(curve.mark, shape.lrs, shape.median)
        axes.plot([curve.mark], [height], color=look["color"], marker="v", markersize=9, markeredgecolor="black")


def _limit_overlay(axes: Axes, curves: Sequence[Overlaid]) -> None:
    losses = [loss for curve in curves for loss in curve.shape.median]
    if losses:
        _limit_height(axes, losses, min(losses))


def _limit_losses(axes: Axes, runs: Sequence[Sequence[float]]) -> None:
    """Limits the height by the median of the runs' first losses, so that an exploding run does not flatten the rest."""
    losses = sorted(loss for run in runs for loss in run if math.isfinite(loss))
    firsts = sorted(run[0] for run in runs if run and math.isfinite(run[0]))
    if firsts:
        _limit_height(axes, [firsts[len(firsts) // 2], *losses], losses[0])


def _look(number: int) -> Look:
    """Returns the colour and line style of curve `number`. Each round of colours shifts the styles: 24 looks differ."""
    style = (number + number // len(COLORS)) % len(STYLES)
    return {"color": COLORS[number % len(COLORS)], "linestyle": STYLES[style]}


def _shared_legend(page: Page, looks: Mapping[str, Look]) -> None:
    """Draws a legend below all panels, in as many columns as fit."""
    shown = list(looks) if len(looks) <= MOST_LABELS else list(looks)[: MOST_LABELS - 1]
    handles = [Line2D([], [], label=page.label(label), **looks[label]) for label in shown]
    if len(shown) < len(looks):
        handles.append(Line2D([], [], linestyle="none", label=f"and {len(looks) - len(shown)} more"))
    columns = max(1, 120 // (8 + max(map(len, shown))))
    page.figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)


def plot_confusion(path: Path, *, title: str, classes: Sequence[str], counts: Sequence[Sequence[int]]) -> str:
    """Plots the images of each true class (rows) per predicted class (columns), shaded by the share of the row."""
    longest = min(LONGEST_NAME, max(map(len, classes)))
    side = min(20.0, max(5.0, 0.6 * len(classes) + 2.5) + 0.1 * max(0, longest - 8))
    with new_page(path, side, side) as page:
        axes = page.figure.add_subplot()
        shares = [[count / max(1, sum(row)) for count in row] for row in counts]
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        ticks = range(len(classes))
        names = [page.text(name, LONGEST_NAME) for name in classes]
        axes.set_xticks(ticks, names, rotation=90 if max(map(len, names)) > 3 else 0)
        axes.set_yticks(ticks, names)
        axes.set(xlabel="predicted", ylabel="true", title=page.text(title))
        if len(classes) <= 25:
            for i, row in enumerate(counts):
                for j, count in enumerate(row):
                    shade = "white" if shares[i][j] > 0.5 else "black"
                    axes.text(j, i, str(count), ha="center", va="center", color=shade, fontsize=9)
    return page.missing


def _grid(axes: Axes) -> None:
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)


def _limit_height(axes: Axes, losses: Sequence[float], low: float) -> None:
    """Limits the height of the view to `loss_limits`, with a margin."""
    _, top = loss_limits(losses, low)
    margin = 0.05 * (top - low or 1 + abs(low))
    # More room below, for the marks of the peers.
    axes.set_ylim(low - 2 * margin, top + margin)
