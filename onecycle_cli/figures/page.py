"""The page on which every figure is drawn. Text may contain any character."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatterSciNotation

from onecycle_cli.errors import printable

DPI = 120

FALLBACK_FONTS = (
    "Noto Sans CJK SC",
    "Noto Sans CJK JP",
    "WenQuanYi Zen Hei",
    "Arial Unicode MS",
    "Noto Sans Devanagari",
)
"""Fonts for scripts that the user's own font lacks, used if installed."""

LAST_FONT = "DejaVu Sans"
"""The font that matplotlib includes."""

LONGEST_TITLE, LONGEST_LABEL = 120, 80
"""The longest title and label, in characters; longer text leaves no room for the plot."""

ZERO_WIDTH = "\u200b"

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
"""The digits and the minus sign of an exponent; `LAST_FONT` has them all."""


class Page:
    r"""A figure that takes text from users and file names.

    Text is drawn literally, never as mathematics. A character without a printed form becomes an escape, as on a
    terminal. So does a character that no font has, such as `\u4e2d`; `missing` collects these characters.
    """

    def __init__(self, figure: Figure, fonts: tuple[str, ...]) -> None:
        self.figure, self._fonts = figure, fonts
        self._missing: set[str] = set()

    @property
    def missing(self) -> str:
        """The characters that no font has, sorted."""
        return "".join(sorted(self._missing))

    def text(self, words: str, longest: int = LONGEST_TITLE) -> str:
        """Returns `words` as text for a title, an axis or a tick, cut to `longest` characters."""
        shown = printable(words)
        if len(shown) > longest:
            shown = f"{shown[: longest - 3]}..."
        if not shown.isascii():
            lacking = {mark for mark in shown if not mark.isascii() and ord(mark) not in _drawn_by(self._fonts)}
            self._missing |= lacking
            shown = "".join(_escaped(mark) if mark in lacking else mark for mark in shown)
        return shown.replace("$", r"\$")

    def label(self, words: str, longest: int = LONGEST_LABEL) -> str:
        """Returns `words` as a legend label, cut to `longest` characters.

        A leading zero-width space keeps matplotlib from hiding a label that begins with an underscore.
        """
        shown = self.text(words, longest)
        return ZERO_WIDTH + shown if shown.startswith("_") else shown


class Powers(LogFormatterSciNotation):
    """Labels the ticks of a log axis with plain text such as 10⁻³, where matplotlib writes mathematics.

    matplotlib never frees the glyphs of mathematics (https://github.com/matplotlib/matplotlib/issues/13019): 10 kB for
    each range test or sweep that a process draws.
    """

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Returns the label of the tick at `x`, empty where there is to be none."""
        label = super().__call__(x, pos)
        inner = label.removeprefix(r"$\mathdefault{").removesuffix("}$").replace(r"\times", "\N{MULTIPLICATION SIGN}")
        return re.sub(r"\^\{(.+?)\}", lambda exponent: exponent[1].translate(RAISED), inner)


@contextmanager
def new_page(path: Path, width: float, height: float) -> Iterator[Page]:
    """Yields an empty page of `width` x `height` inches; save it to `path` as PNG when the block ends."""
    with mpl.rc_context({"text.usetex": False, "font.family": _fonts()}):
        page = Page(Figure(figsize=(width, height), layout="constrained"), tuple(_fonts()))
        yield page
        for axis in (axis for axes in page.figure.axes for axis in (axes.xaxis, axes.yaxis)):
            if axis.get_scale() == "log":
                axis.set_major_formatter(Powers())
                axis.set_minor_formatter(Powers())
        page.figure.savefig(path, dpi=DPI, format="png")


def _fonts() -> list[str]:
    """Returns the user's fonts, then the installed fallback fonts."""
    installed = {font.name for font in font_manager.fontManager.ttflist}
    further = [name for name in (*FALLBACK_FONTS, LAST_FONT) if name in installed]
    return list(dict.fromkeys([*mpl.rcParams["font.family"], *further]))


@cache
def _drawn_by(fonts: tuple[str, ...]) -> frozenset[int]:
    """Returns the code points that at least one of the fonts has."""
    found: set[int] = set()
    for name in fonts:
        try:
            path = font_manager.findfont(font_manager.FontProperties(family=name), fallback_to_default=False)
        except ValueError:  # the user's setting may name a font that is not installed
            continue
        found |= font_manager.get_font(path).get_charmap().keys()
    return frozenset(found)


def _escaped(mark: str) -> str:
    return mark.encode("ascii", "backslashreplace").decode("ascii")
