"""Curves as lines of text, for a terminal, from plain columns. Nothing is printed, and no state is kept.

Plotille draws the dots, eight to a character. Series differ in form, not only in colour: one is a line, the other has
a letter at each point.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean
from typing import Literal

from plotille import Canvas, color

from onecycle_cli.figures.view import loss_limits

Color = Literal["cyan", "red", "bright_black"]
Point = tuple[float, float]

FEWEST_COLUMNS, FEWEST_ROWS = 40, 8
"""The smallest room in which a curve can be read."""

AROUND = 3
"""The rows above and below the dots: what is drawn, the axis, and its numbers."""

_BLANK = 0x2800
"""The code point of the braille character without dots; bits 0, 1, 3 and 4 are its upper half."""

_UPPER = 0b00011011


@dataclass(frozen=True)
class Screen:
    """The room for a curve, in characters, and what the terminal can show.

    Without `unicode`, there are ASCII characters only.
    """

    columns: int
    rows: int
    color: bool = False
    unicode: bool = True

    @property
    def is_too_small(self) -> bool:
        """Whether there is no room for a curve."""
        return self.columns < FEWEST_COLUMNS or self.rows < FEWEST_ROWS

    def painted(self, text: str, paint: Color | None) -> str:
        """Returns the text in a colour; unchanged where there are no colours, as with NO_COLOR."""
        return color(text, fg=paint) if self.color and paint and text.strip() else text


@dataclass(frozen=True)
class _Series:
    """Points to draw, by ascending x: as a line, as single dots, or with the character `mark` at each of them."""

    points: Sequence[Point]
    color: Color
    form: Literal["line", "dots", "mark"] = "line"
    mark: str | None = None


@dataclass(frozen=True)
class _Span:
    """A part of the x axis, with one of its values."""

    lowest: float
    value: float
    highest: float


@dataclass(frozen=True)
class _Scale:
    """An axis from `low` to `high`, on a log scale if `log`."""

    low: float
    high: float
    log: bool = False

    def share(self, value: float) -> float:
        """Returns the place of a value on the axis, from 0 to 1; outside for a value that is not on the axis."""
        low, high, at = (math.log10(x) if self.log else x for x in (self.low, self.high, value))
        return (at - low) / (high - low)

    def ticks(self, most: int) -> list[tuple[float, str]]:
        """Returns round values on the axis, at most about `most`, each with its text."""
        return _log_ticks(self.low, self.high) if self.log else _linear_ticks(self.low, self.high, most)


def range_test_lines(
    screen: Screen,
    *,
    tests: Sequence[Sequence[Point]],
    smooth: Sequence[Point],
    max_lr: float | None = None,
    best: tuple[float, float] | None = None,
) -> list[str]:
    """Draws the loss over log lr: the (lr, loss) of each test as dots, their smooth curve as a line.

    A dotted line marks `max_lr`, and a thick part of the axis the lrs `best` among which the best one is. Returns no
    line if there is no room, or nothing to draw.
    """
    smooth = _finite(smooth)
    raw = [point for test in tests for point in _finite(test)]
    if screen.is_too_small or len(smooth) < 2:
        return []
    lrs = [lr for lr, _ in raw or smooth]
    _, high = loss_limits([loss for _, loss in smooth], low := min(loss for _, loss in raw or smooth))
    series = [_Series(smooth, "cyan")]
    legend: list[tuple[str, Color | None]] = [(f"{_line_sign(screen)} smoothed", "cyan")]
    if screen.unicode:  # in ASCII, dots would look like parts of the line
        series.insert(0, _Series(raw, "bright_black", form="dots"))
        legend.insert(0, ("⠂ each batch", "bright_black"))
    span = None
    if max_lr is not None:
        lowest, highest = best or (max_lr, max_lr)
        span = _Span(lowest, max_lr, highest)
        at, thick = ("┿", "━") if screen.unicode else ("|", "=")
        legend.append((f"{at} max_lr {max_lr:g}", "red"))
        if best:
            legend.append((f"{thick} best max_lr, 90 %", "red"))
    axis = _Scale(*_apart(min(lrs), max(lrs), log=True), log=True)
    return _chart(screen, series, axis, (low, high), "lr", legend, span)


def training_lines(screen: Screen, *, train: Sequence[Point], valid: Sequence[Point]) -> list[str]:
    """Draws the losses of a training over its steps: the (step, train_loss) as a line, the (step, valid_loss) as `o`.

    Of several steps that share a dot, the mean is drawn. Returns no line if there is no room, or nothing to draw.
    """
    train, valid = _finite(train), _finite(valid)
    if screen.is_too_small or len(train) < 2:
        return []
    last = max(train[-1][0], valid[-1][0] if valid else 0)
    steps = _Scale(*_apart(train[0][0], last))
    dots = 2 * screen.columns
    line, each = _means(train, steps, dots), len(train) / dots
    losses = [loss for _, loss in line]
    low = min(losses + [loss for _, loss in valid])
    _, high = loss_limits(losses, low)
    high = max(high, min(max(losses), 1.5 * losses[0]))  # of a loss that rises at once, more than its first tenth
    if valid:  # the first one may be higher than the train loss ever was
        high = max(high, min(max(loss for _, loss in valid), 2 * high - low))
    if 0 < low < high / 4:
        low = 0
    name = "train_loss" if each <= 1 else "train_loss, averaged"
    legend: list[tuple[str, Color | None]] = [(f"{_line_sign(screen)} {name}", "cyan")]
    series = [_Series(line, "cyan")]
    if valid:
        series.append(_Series(valid, "red", form="mark", mark="o"))
        legend.append(("o valid_loss", "red"))
    return _chart(screen, series, steps, (low, high), "step", legend)


def _chart(
    screen: Screen,
    series: Iterable[_Series],
    x: _Scale,
    losses: tuple[float, float],
    name: str,
    legend: Sequence[tuple[str, Color | None]],
    span: _Span | None = None,
) -> list[str]:
    """Draws series above the x axis `name`, with the legend above them."""
    rows = screen.rows - AROUND
    y = _Scale(*_apart(*losses))
    ticks = {round(y.share(value) * (4 * rows - 1)) // 4: text for value, text in y.ticks(rows // 2)}
    margin = max(map(len, [*ticks.values(), "loss", name]))
    width = screen.columns - margin - 2
    while sum(3 + len(text) for text, _ in legend) > width + 2:
        legend = legend[1:]
    canvas = Canvas(width, rows, 0, 0, 2 * width, 4 * rows)
    if span is not None:
        _draw_upright(canvas, _column(x, span.value, width), screen)
    for one in series:
        _draw(canvas, one, x, y, screen)
    bar, tick = ("│", "┤") if screen.unicode else ("|", "+")
    drawn = canvas.plot("\n").translate(_DOTS if screen.unicode else _ASCII).split("\n")
    lines = [f"{'loss':>{margin}}" + "".join(f"   {screen.painted(text, paint)}" for text, paint in legend)]
    for number, dots in enumerate(drawn):
        text = ticks.get(rows - 1 - number, "")
        lines.append(f"{text:>{margin}} {tick if text else bar}{dots}")
    columns = {_column(x, value, width): text for value, text in x.ticks(width // 12)}
    lines.append(" " * (margin + 1) + _axis(width, columns, x, span, screen))
    lines.append(f"{name:>{margin}}  {_numbers(width, columns)}")
    return [line.rstrip() for line in lines]


def _draw(canvas: Canvas, series: _Series, x: _Scale, y: _Scale, screen: Screen) -> None:
    wide, high = 2 * canvas.width - 1, 4 * canvas.height - 1
    # A loss far above the view would take plotille a dot for each step there.
    dots = [(round(x.share(at) * wide), round(min(y.share(loss), 2.0) * high)) for at, loss in series.points]
    paint = series.color if screen.color else None
    if series.form == "line":
        for (x0, y0), (x1, y1) in pairwise(dots):
            canvas.line(x0, y0, x1, y1, color=paint)
        return
    for across, up in dots:
        canvas.point(across, up, color=paint, marker=series.mark)


def _draw_upright(canvas: Canvas, column: int, screen: Screen) -> None:
    """Draws a dotted vertical line."""
    for up in range(0, 4 * canvas.height, 2):
        canvas.point(2 * column, up, color="red" if screen.color else None)


def _column(x: _Scale, value: float, width: int) -> int:
    """Returns the column, of `width`, in which the dot of a value is; the first or last one for a value outside."""
    return min(max(round(x.share(value) * (2 * width - 1)) // 2, 0), width - 1)


def _axis(width: int, ticks: Iterable[int], x: _Scale, span: _Span | None, screen: Screen) -> str:
    corner, line, tick, thick, at = "└─┬━┿" if screen.unicode else "+-+=|"
    marks = [line] * width
    for column in ticks:
        marks[column] = tick
    if span is None:
        return corner + "".join(marks)
    low, middle, high = (_column(x, value, width) for value in (span.lowest, span.value, span.highest))
    marks[low : high + 1] = [thick] * (high + 1 - low)
    marks[middle] = at
    before, inside, after = "".join(marks[:low]), "".join(marks[low : high + 1]), "".join(marks[high + 1 :])
    return corner + before + screen.painted(inside, "red") + after


def _numbers(width: int, ticks: dict[int, str]) -> str:
    """Returns the numbers below an axis, each below its tick, without those that there is no room for."""
    row, free = [" "] * width, 0
    for column, text in ticks.items():
        start = min(max(column - (len(text) - 1) // 2, 0), width - len(text))
        if start >= free:
            row[start : start + len(text)] = text
            free = start + len(text) + 2
    return "".join(row)


def _means(points: Sequence[Point], x: _Scale, dots: int) -> list[Point]:
    """Returns the mean point of those in each of `dots` equal parts of the axis."""
    if len(points) <= dots:
        return list(points)
    parts: dict[int, list[Point]] = {}
    for point in points:
        parts.setdefault(min(int(x.share(point[0]) * dots), dots - 1), []).append(point)
    return [(fmean(at for at, _ in part), fmean(loss for _, loss in part)) for part in parts.values()]


def _finite(points: Iterable[Point]) -> list[Point]:
    return [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]


def _apart(low: float, high: float, *, log: bool = False) -> tuple[float, float]:
    """Returns the ends of an axis, which have to differ by more than the rounding of a number."""
    if high - low > 1e-9 * max(abs(low), abs(high)):
        return low, high
    return (low / 2, 2 * high) if log else (low - 0.5 * (abs(low) or 1), high + 0.5 * (abs(high) or 1))


def _linear_ticks(low: float, high: float, most: int) -> list[tuple[float, str]]:
    """Returns the multiples of 1, 2 or 5 times a power of ten."""
    least = (high - low) / max(most, 1)
    power = 10.0 ** math.floor(math.log10(least))
    step = next(step for step in (power, 2 * power, 5 * power, 10 * power) if step >= least * (1 - 1e-9))
    digits = max(0, -math.floor(math.log10(step) + 1e-9))
    values = [number * step for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]
    return [(value, f"{value:.{digits}f}" if 1e-4 < step < 1e7 else f"{value:.3g}") for value in values]


def _log_ticks(low: float, high: float) -> list[tuple[float, str]]:
    """Returns the powers of ten, and their double and fivefold on an axis of less than two decades."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1,) if high / low >= 100 else (1, 2, 5)
    values = [float(f"{factor}e{power}") for power in powers for factor in factors]
    inside = [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
    return [(value, f"{value:g}") for value in inside]


def _line_sign(screen: Screen) -> str:
    return "⠒⠒" if screen.unicode else ".."


def _ascii(dots: int) -> str:
    """Returns the ASCII character that looks most like some of the eight dots."""
    upper, lower = bool(dots & _UPPER), bool(dots & ~_UPPER)
    return ":" if upper and lower else "'" if upper else "." if lower else " "


_DOTS = {_BLANK: " "}
_ASCII = {_BLANK + dots: _ascii(dots) for dots in range(256)}
