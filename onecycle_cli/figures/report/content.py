"""The content of a report: sections of blocks. Text is plain and may hold anything; the page escapes it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

Columns = Mapping[str, Sequence[Any]]
"""The data of a chart, by column."""


@dataclass(frozen=True)
class Text:
    """A paragraph. `kind` is "plain", "lead" for the result of a run, or "note" for what a reader should know."""

    text: str
    kind: str = "plain"
    block: ClassVar[str] = "text"


@dataclass(frozen=True)
class Pairs:
    """Names and values. Long values are `wide`: one pair a line."""

    rows: Sequence[tuple[str, str]]
    wide: bool = False
    block: ClassVar[str] = "pairs"


@dataclass(frozen=True)
class Cell:
    """A cell of a table: what it shows, the number it is sorted by (None: its text), and the section it links to."""

    text: str
    number: float | None = None
    link: str | None = None


@dataclass(frozen=True)
class Table:
    """A table that can be sorted by each column; the first column names the rows."""

    id: str
    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    block: ClassVar[str] = "table"


@dataclass(frozen=True)
class Matrix:
    """A table with shaded cells, such as a confusion matrix: names of rows and columns, texts, shades from 0 to 1.

    A shade of None is a cell without a value. `down` names what the rows are, such as true classes, and
    `across` what the columns are.
    """

    id: str
    caption: str
    down: str
    across: str
    rows: Sequence[str]
    columns: Sequence[str]
    texts: Sequence[Sequence[str]]
    shades: Sequence[Sequence[float | None]]
    block: ClassVar[str] = "matrix"


@dataclass(frozen=True)
class Picture:
    """An image of a sheet: its position there, and the lines under it. `said` describes it to who cannot see it."""

    position: int
    lines: Sequence[str]
    said: str


@dataclass(frozen=True)
class Pictures:
    """Images cut out of one sheet: a PNG of equal tiles, `columns` in a row."""

    caption: str
    sheet: "Sheet"
    pictures: Sequence[Picture]
    block: ClassVar[str] = "pictures"


@dataclass(frozen=True)
class Sheet:
    """A PNG of equal tiles, in rows from the top left. `id` is the name that pictures refer to it by."""

    id: str
    png: bytes
    columns: int
    rows: int


@dataclass(frozen=True)
class Statement:
    """A statement about a curve. `figure` is where it is drawn, from `first` to `last` on the x axis; None: nowhere.

    `evidence` is the numbers that it was read from, hidden until a reader opens them.
    """

    number: int
    title: str
    text: str
    advice: str
    evidence: Sequence[tuple[str, str]] = ()
    figure: str | None = None
    first: float = 0.0
    last: float = 0.0


@dataclass(frozen=True)
class Statements:
    """Statements about the curves of a run, in order."""

    items: Sequence[Statement]
    block: ClassVar[str] = "statements"


@dataclass(frozen=True)
class Command:
    """A line for a shell, and above it what it does."""

    told: str
    line: str
    block: ClassVar[str] = "command"


@dataclass(frozen=True)
class Code:
    """Text with its line breaks, such as a recipe."""

    text: str
    block: ClassVar[str] = "code"


@dataclass(frozen=True)
class LegendEntry:
    """An entry of a legend: the number of its colour (None: that of text), and "line", "dashed", "band" or "mark"."""

    label: str
    color: int | None
    kind: str = "line"
    dash: int = 0


@dataclass(frozen=True)
class Panel:
    """One chart: a title, and a Vega-Lite specification without data of its own. `can_log`: its y axis may be log.

    `legend` is that of its own curves; the one of a figure is for all of its charts.
    """

    title: str
    spec: Mapping[str, Any]
    can_log: bool = False
    legend: Sequence[LegendEntry] = ()


@dataclass(frozen=True)
class Figure:
    """Charts with a common x axis that can be zoomed together.

    `said` gives the numbers of the figure in sentences. `data` holds the columns that the specifications name; a number
    in a column `run` is the position of its label in `labels`. `starts_log` says that y axes
    that may be logarithmic are so at first, and `can_zoom` that the x axes are quantitative.
    """

    id: str
    title: str
    said: str
    panels: Sequence[Panel]
    data: Mapping[str, Columns]
    legend: Sequence[LegendEntry] = ()
    note: str | None = None
    labels: Sequence[str] = ()
    starts_log: bool = False
    can_zoom: bool = True
    block: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Details:
    """Blocks that are hidden until a reader opens them."""

    summary: str
    blocks: Sequence["Block"]
    block: ClassVar[str] = "details"


Block = Text | Pairs | Table | Matrix | Pictures | Statements | Command | Code | Figure | Details


@dataclass(frozen=True)
class Section:
    """A part of the page under a heading. `badge` is a status beside the heading."""

    id: str
    title: str
    blocks: Sequence[Block]
    inner: Sequence["Section"] = ()
    badge: str | None = None


@dataclass(frozen=True)
class Page:
    """A whole report. `live` is the state of the runs, by which a page that refreshes itself sees that it is old."""

    title: str
    made: str
    sections: Sequence[Section]
    live: str | None = None
    running: bool = False
    notes: Sequence[str] = field(default_factory=tuple)
