"""The page of a report: one HTML file with everything in it, from a template.

The page may load nothing: its Content-Security-Policy names the scripts in it by their hashes, and forbids all others
and the network. Charts are drawn by Vega-Lite, which reads its expressions itself and needs no `eval`.
"""

import base64
import hashlib
import json
import math
import re
from collections.abc import Iterator, Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from onecycle_cli.errors import missing_packages, printable
from onecycle_cli.figures.report.content import Block, Details, Figure, Page, Pictures, Section, Sheet

if TYPE_CHECKING:
    from markupsafe import Markup

GENERATOR = "onecycle report"
SEAL = re.compile(rb"<!-- onecycle report ([0-9a-f]{64}) -->\n\Z")
"""The last line of a page: a hash of everything before it."""


def render(page: Page) -> str:
    """Returns the page as HTML. `MachineError` if the packages of the extra `report` are missing."""
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ImportError:
        raise missing_packages("A report", "jinja2", "report") from None
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=False)
    environment.filters |= {"figure_json": figure_json, "base64": _base64, "breakable": breakable, "code": with_code}
    environment.globals["place"] = place
    environment.finalize = _safe
    blocks = list(_blocks(page.sections))
    has_figures = any(isinstance(block, Figure) for block in blocks)
    sheets = {block.sheet.id: block.sheet for block in blocks if isinstance(block, Pictures)}
    scripts = [FIRST_SCRIPT, *([charts_script()] if has_figures else []), _file("page.js")]
    # What is not escaped is ours: the files of this package and the charts' library (S704).
    text = environment.from_string(_file("page.html")).render(
        page=page,
        policy=policy(scripts, live=page.live is not None),
        generator=GENERATOR,
        css=Markup(_file("page.css")),  # noqa: S704
        script=Markup(scripts[-1]),  # noqa: S704
        bundle=Markup(charts_script()) if has_figures else "",  # noqa: S704
        has_figures=has_figures,
        sheets=list(sheets.values()),
    )
    return sealed(text)


FIRST_SCRIPT = 'document.documentElement.classList.add("scripted");'
"""The script in the head of the template, which shows what needs scripts."""


def _safe(value: Any) -> Any:
    """Returns what a template shows: text from people with its unprintable characters escaped."""
    if isinstance(value, str) and not hasattr(value, "__html__"):
        return printable(value, but="\n\t")
    return value


def breakable(text: str) -> "Markup":
    """Returns text that a browser may break after `_`, `,` and `/`, for the names of columns on a small screen."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([_,/])(?=.)", r"\1<wbr>", str(escape(_safe(text)))))  # noqa: S704 -- escaped before


def with_code(text: str) -> "Markup":
    """Returns text in which words between backticks are code."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(_safe(text)))))  # noqa: S704 -- escaped before


def sealed(text: str) -> str:
    """Returns a page with a last line by which `is_untouched` knows it."""
    return f"{text}<!-- onecycle report {hashlib.sha256(text.encode()).hexdigest()} -->\n"


def is_untouched(page: bytes) -> bool:
    """Whether a file is a page of ours that nobody has changed since."""
    seal = SEAL.search(page)
    return seal is not None and hashlib.sha256(page[: seal.start()]).hexdigest().encode() == seal[1]


def policy(scripts: Sequence[str], *, live: bool) -> str:
    """Returns the Content-Security-Policy of a page with these scripts. A live page may ask its own server."""
    hashes = " ".join(f"'sha256-{_digest(script)}'" for script in scripts)
    parts = ["default-src 'none'", f"script-src {hashes}", "style-src 'unsafe-inline'", "img-src data:"]
    parts += ["base-uri 'none'", "form-action 'none'", *(["connect-src 'self'"] if live else [])]
    return "; ".join(parts)


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


@cache
def charts_script() -> str:
    """Returns Vega, Vega-Lite and Vega-Embed as one script, from the package vl-convert-python: 0.9 MB."""
    try:
        import vl_convert
    except ImportError:
        raise missing_packages("A report", "vl-convert-python", "report") from None
    bundle = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")
    return bundle.replace("</script", "<\\/script").replace("<!--", "<\\!--")


@cache
def _file(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text(encoding="utf-8")


def figure_json(figure: Figure) -> "Markup":
    """Returns what the page's script needs of a figure as JSON that can stand in any place of an HTML page."""
    value = {
        "panels": [{"spec": panel.spec, "log": panel.can_log} for panel in figure.panels],
        "data": figure.data,
        "labels": list(figure.labels),
        "zoom": figure.can_zoom,
        "log": figure.starts_log,
    }
    return script_json(value)


def script_json(value: Any) -> "Markup":
    """Returns a value as JSON in which no character can end a script, begin a tag, or end a line of JavaScript."""
    from markupsafe import Markup

    text = json.dumps(_json_ready(value), separators=(",", ":"), allow_nan=False)  # ASCII, so U+2028 is an escape
    for mark in "<>&":
        text = text.replace(mark, f"\\u{ord(mark):04x}")
    return Markup(text)  # noqa: S704 -- no mark of HTML is left


def _json_ready(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {key: _json_ready(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_json_ready(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def place(position: int, sheet: Sheet) -> str:
    """Returns the style that shows one tile of a sheet."""
    row, column = divmod(position, sheet.columns)
    across, down = (100 * at / max(1, count - 1) for at, count in ((column, sheet.columns), (row, sheet.rows)))
    return f"background-position:{across:.3f}% {down:.3f}%"


def _base64(sheet: Sheet) -> str:
    return base64.b64encode(sheet.png).decode()


def _blocks(sections: Sequence[Section]) -> Iterator[Block]:
    """Yields every block of the sections, also those inside of others."""
    for section in sections:
        yield from _flat(section.blocks)
        yield from _blocks(section.inner)


def _flat(blocks: Sequence[Block]) -> Iterator[Block]:
    for block in blocks:
        yield block
        if isinstance(block, Details):
            yield from _flat(block.blocks)
