"""The page holds everything, allows nothing else, and shows any text as text."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from typing import Any

import pytest

from onecycle_cli.figures.report import page as module
from onecycle_cli.figures.report.content import (
    Block,
    Cell,
    Code,
    Command,
    Details,
    Figure,
    LegendEntry,
    Matrix,
    Page,
    Pairs,
    Panel,
    Picture,
    Pictures,
    Section,
    Sheet,
    Statement,
    Statements,
    Table,
    Text,
)
from onecycle_cli.figures.report.page import is_untouched, place, policy, render, script_json, sealed

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>'\"`${x}{{ 7*7 }}\u2028\udcff\x1b"


class Tags(HTMLParser):
    """The elements of a page, with their attributes and the text in them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.found:
            self.texts.append((self.found[-1][0], data))

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def every_block(text: str) -> list[Block]:
    """A block of each kind with this text wherever text can be."""
    sheet = Sheet("s", b"\x89PNG\r\n\x1a\n", 8, 2)
    spec = {"layer": [{"data": {"name": "d"}, "encoding": {"x": {"field": "x", "title": text}}}]}
    figure = Figure(
        "f", text, text, [Panel(text, spec), Panel("b", spec)], {"d": {"x": [text]}}, [LegendEntry(text, 1)]
    )
    return [
        Text(text),
        Pairs([(text, text)]),
        Table("t", text, [text], [[Cell(text, None, "other")], [Cell(text, 1.5)]]),
        Matrix("m", text, text, text, [text], [text], [[text]], [[0.5]]),
        Pictures(text, sheet, [Picture(9, [text], text)]),
        Statements([Statement(1, text, text, text, [(text, text)], "f", 0.0, 1.0)]),
        Command(text, text),
        Code(text),
        figure,
        Details(text, [Text(text)]),
    ]


def page_with(*blocks: Block, **more: Any) -> Page:
    return Page("A page", "made now", [Section("one", "One", blocks)], **more)


def test_any_text_is_shown_as_text_in_every_block() -> None:
    hostile = [Section("one", HOSTILE, every_block(HOSTILE), badge=HOSTILE)]
    whole = Page(HOSTILE, HOSTILE, hostile, notes=[HOSTILE])
    text = render(whole)
    plain = render(Page("A", "b", [Section("one", "c", every_block("d"), badge="e")], notes=["f"]))
    tags, expected = Tags(text), Tags(plain)
    # The same elements, and none of them from the text; of those, `script` tells most.
    assert [tag for tag, _ in tags.found if tag not in ("wbr", "code")] == [
        tag for tag, _ in expected.found if tag not in ("wbr", "code")
    ]
    assert not tags.of("img")
    assert not any(name.startswith("on") for _, attributes in tags.found for name in attributes)
    assert "{{ 7*7 }}" in text
    assert "49" not in [words for _, words in tags.texts]
    assert "\x1b" not in text
    assert "\u2028" not in text
    text.encode()  # a byte that is not UTF-8 is an escape


def test_the_data_of_a_figure_come_back_as_they_were() -> None:
    tags = Tags(render(page_with(*every_block("<b>&\u2028"))))
    (data,) = [text for tag, text in tags.texts if tag == "script" and text.startswith('{"panels"')]
    assert json.loads(data)["data"] == {"d": {"x": ["<b>&\\u2028"]}}


def test_json_in_a_page_has_no_character_that_html_reads() -> None:
    text = str(script_json({"a": "</script><!--&\u2029", "b": [1.5, float("nan"), None]}))
    assert not set(text) & set("<>&\u2029")
    assert json.loads(text) == {"a": "</script><!--&\\u2029", "b": [1.5, None, None]}


def test_only_the_scripts_of_the_page_may_run_and_nothing_is_loaded() -> None:
    text = render(page_with(*every_block("x")))
    tags = Tags(text)
    (meta,) = [m["content"] for m in tags.of("meta") if m.get("http-equiv") == "Content-Security-Policy"]
    assert meta is not None
    assert meta.startswith("default-src 'none'; script-src 'sha256-")
    assert not {"unsafe-eval", "'self'", "http", "*"} & set(re.split(r"[ ;]", meta))
    assert "script-src 'unsafe" not in meta
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    assert len(scripts) == 3
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert re.findall(r"'sha256-([^']+)'", meta) == hashes
    assert not [a for tag, a in tags.found if tag in ("link", "iframe", "img", "object") or a.get("src")]
    assert all(a["href"].startswith("#") for a in tags.of("a"))


def test_a_page_without_figures_has_no_library() -> None:
    assert len(render(page_with(Text("x")))) < 60_000
    assert len(render(page_with(*every_block("x")))) > 500_000


def test_a_live_page_may_ask_its_own_server_and_no_other() -> None:
    assert policy(["x"], live=True).endswith("; connect-src 'self'")
    assert "connect-src" not in policy(["x"], live=False)
    tags = Tags(render(page_with(Text("x"), live="abc", running=True)))
    assert [m["content"] for m in tags.of("meta") if m.get("name") == "live"] == ["abc"]
    assert not [m for m in Tags(render(page_with(Text("x")))).of("meta") if m.get("name") == "live"]


def test_the_page_can_be_read_without_eyes() -> None:
    tags = Tags(render(page_with(*every_block("x"))))
    levels = [int(tag[1]) for tag, _ in tags.found if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert all(a.get("scope") in ("col", "row") for a in tags.of("th"))
    ids = [a["id"] for _, a in tags.found if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["aria-labelledby"] for _, a in tags.found if "aria-labelledby" in a} <= set(ids)
    assert all(a.get("aria-label") for _, a in tags.found if a.get("role") == "img")
    assert ("a", {"class": "skip", "href": "#main"}) in tags.found
    assert tags.of("html") == [{"lang": "en"}]


def test_names_of_columns_may_break_and_code_is_marked() -> None:
    text = render(page_with(Text("Take `--max-lr`, <b>."), Table("t", "c", ["valid_loss"], [])))
    assert "Take <code>--max-lr</code>, &lt;b&gt;." in text
    assert "valid_<wbr>loss" in text


def test_a_page_knows_whether_somebody_has_changed_it() -> None:
    page = sealed("<p>x</p>").encode()
    assert is_untouched(page)
    assert not is_untouched(page.replace(b"x", b"y"))
    assert not is_untouched(page + b"<!-- mine -->\n")
    assert not is_untouched(b"<p>x</p>")
    assert is_untouched(render(page_with(Text("x"))).encode())


@pytest.mark.parametrize(
    ("position", "style"),
    [(0, "0.000% 0.000%"), (7, "100.000% 0.000%"), (8, "0.000% 100.000%"), (9, "14.286% 100.000%")],
)
def test_a_tile_is_cut_at_its_place(position: int, style: str) -> None:
    assert place(position, Sheet("s", b"", 8, 2)) == f"background-position:{style}"
    assert place(0, Sheet("s", b"", 8, 1)) == "background-position:0.000% 0.000%"


def test_the_files_of_the_page_are_part_of_the_package() -> None:
    for name in ("page.html", "page.css", "page.js"):
        assert module._file(name)


def test_text_has_contrast_in_light_and_in_dark() -> None:
    """WCAG 2.2 asks for 4.5 for text and 3 for lines, on the page and on the cards."""
    themes = re.findall(r":root[^{]*\{([^}]*--paper[^}]*)\}", module._file("page.css"))
    assert len(themes) == 3  # light, dark by the system, dark by the reader
    assert themes[1].split() == themes[2].split()
    for theme in themes:
        found = {name: luminance(value) for name, value in re.findall(r"--(\w+): (#[0-9a-f]{6})", theme)}
        for name, light in found.items():
            if name not in ("paper", "card", "shadow", "line"):
                least = 3.0 if re.fullmatch(r"c\d", name) else 4.5
                grounds = ("paper", "card") if name != "ink" else ("paper", "card", "shadow")
                assert all(contrast(light, found[ground]) >= least for ground in grounds), name


def luminance(text: str) -> float:
    parts = [int(text[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)
