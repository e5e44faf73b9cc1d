"""The report in a real browser: Chromium, driven by Playwright.

Debian's Chromium is enough: `apt-get install chromium`. Another one is named by the variable CHROMIUM.
"""

import math
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from onecycle_cli.analysis.lr_range import Curve, shape_of
from onecycle_cli.experiments.report import found_runs, write_report
from onecycle_cli.experiments.report_server import ReportServer
from onecycle_cli.figures.report.charts import RangeTests, Training, overlay_figure, range_test_figure, training_figure
from onecycle_cli.figures.report.content import Page, Section
from onecycle_cli.figures.report.page import render
from onecycle_cli.run_dir.run import RunDir
from tests.conftest import BLANK, TINY

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is missing: pip install playwright")

PROGRAM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="Chromium is missing: apt-get install chromium")

HOSTILE = "</script><script>window.hacked=1</script>"
OTHER = "<img src=x onerror=window.hacked=2>"
"""Class names that run a script where they are written into a page as they are."""

LONG = f"{OTHER}{'x' * 80}"
"""How the names of files begin: with no place where a line may end."""

Browser = Any
Tab = Any


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_api.sync_playwright() as playwright:
        # Chromium's own sandbox does not start as root, as in a container.
        found = playwright.chromium.launch(executable_path=PROGRAM, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A range test, a training on classes with hostile names, its evaluation, a sweep, and a training that diverged."""
    from onecycle_cli.cli import app

    folder = tmp_path_factory.mktemp("browser")
    generator = np.random.default_rng(0)
    lines = ["path,label"]
    for number in range(60):
        pixels = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{LONG}{number}.png")
        lines.append(f"{LONG}{number}.png,{(HOSTILE, OTHER)[number % 2]}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")

    def run(*words: object, codes: tuple[int, ...] = (0,)) -> None:
        result = CliRunner().invoke(app, [*map(str, words), "--runs-dir", str(folder / "runs")])
        assert result.exit_code in codes, result.output

    digits = ["digits", *(word for field, value in TINY.items() for word in ("--set", f"{field}={value}"))]
    images = {"source": "csv", "path": folder / "labels.csv", "channels": 3, "batch_size": 16, "valid_fraction": 0.5}
    hostile = [*digits, *(word for name, value in images.items() for word in ("--set", f"data.{name}={value}"))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ONECYCLE_DATA", str(folder / "cache"))
        patch.setattr("matplotlib.figure.Figure.savefig", lambda _, path, **__: Path(path).write_bytes(BLANK))
        run("find-lr", *digits, "--set", "find_lr.num_steps=60", "--name", "found")
        run("train", *hostile, "--name", "hostile", codes=(0, 3))
        run("evaluate", "hostile", "--name", "scored")
        run("sweep", *digits, "--param", "schedule.max_lr=0.1,0.3", "--seeds", 2, "--name", "swept")
        run("train", *digits, "--max-lr", 900, "--name", "diverged", codes=(3,))
    return folder / "runs"


@pytest.fixture(scope="module")
def page(runs: Path) -> Path:
    """A report of all of them."""
    names = ["found", "hostile", "swept", "diverged"]
    return write_report(names, runs_dir=runs, output=runs / "page.html").path


class Watched:
    """Opens pages, and keeps what the browser complains about and what it asks of a network."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.contexts: list[Any] = []
        self.complaints: list[str] = []
        self.asked: list[str] = []

    def open(self, address: str, *, width: int = 1280, **options: Any) -> Tab:
        context = self._browser.new_context(viewport={"width": width, "height": 900}, **options)
        self.contexts.append(context)
        context.set_default_timeout(60_000)
        tab = context.new_page()
        tab.on("console", lambda message: self.complaints.append(message.text))
        tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        tab.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        tab.on("request", lambda request: self.asked.append(request.url))
        tab.goto(address)
        if options.get("java_script_enabled", True):
            tab.wait_for_selector("html[data-ready]")
        return tab

    def check(self) -> None:
        assert self.complaints == []
        assert [url for url in self.asked if not url.startswith(("file:", "data:", "http://127.0.0.1:"))] == []


@pytest.fixture
def opened(browser: Browser, page: Path) -> Iterator[Callable[..., Tab]]:
    """Opens the report, or another address; what the browser complains about, or asks of a network, fails the test."""
    watched = Watched(browser)
    yield lambda address=None, **options: watched.open(address or page.as_uri(), **options)
    for context in watched.contexts:
        context.close()
    watched.check()


@pytest.fixture(scope="module")
def _shared(browser: Browser, page: Path) -> Iterator[tuple[Watched, Tab]]:
    watched = Watched(browser)
    yield watched, watched.open(page.as_uri())
    watched.contexts[0].close()


@pytest.fixture
def tab(_shared: tuple[Watched, Tab]) -> Iterator[Tab]:
    """The report, opened once for all tests that work as well after others: it takes three seconds to draw."""
    watched, tab = _shared
    yield tab
    watched.check()


def labels(tab: Tab, figure: str) -> str:
    """The labels of the axes of a figure's first chart."""
    return "|".join(tab.locator(f"#{figure} .chart").first.locator(".role-axis-label text").all_text_contents())


def wait_for_labels(tab: Tab, figure: str, condition: str, than: str) -> None:
    """Waits until the labels of a figure's first chart are `condition` (=== or !==) those of before."""
    shown = "[...document.querySelector(`#${id} .chart`).querySelectorAll('.role-axis-label text')]"
    tab.wait_for_function(
        f"([id, than]) => {shown}.map(one => one.textContent).join('|') {condition} than", arg=[figure, than]
    )


FOUND = "run-1-found-lr-range"
DIVERGED = "run-4-diverged-training"


def test_every_chart_is_drawn(tab: Tab) -> None:
    charts = tab.locator(".chart")
    assert charts.count() >= 15
    for chart in charts.all():
        drawn = chart.locator("svg .mark-line path, svg .mark-symbol path").evaluate_all(
            "paths => paths.filter(path => (path.getAttribute('d') ?? '').length > 20).length"
        )
        assert drawn, chart.get_attribute("aria-label")
        assert chart.get_attribute("aria-label")


def test_the_chosen_curve_of_an_overlay_is_bold(opened: Callable[..., Tab], tmp_path: Path) -> None:
    curves = [Curve([1e-3 * 1.2**i for i in range(30)], [2.0 - i / 30 for i in range(30)])]
    tests = [RangeTests(label, shape_of(curves), 0.01) for label in ("a", "b")]
    figure = overlay_figure("f", title="t", tests=tests, mark="reach_lr", chosen="b")
    written = tmp_path / "overlay.html"
    written.write_text(render(Page("t", "", [Section("s", "s", [figure])])))
    tab = opened(written.as_uri())
    widths = tab.locator("#f .mark-line path").evaluate_all("all => all.map(one => one.getAttribute('stroke-width'))")
    assert widths == ["1.6", "1.6", "4"]


def test_curves_with_little_on_them_are_no_error(opened: Callable[..., Tab], tmp_path: Path) -> None:
    step = {"step": 0, "lr": 0.1, "momentum": 0.9, "train_loss": 2.0}
    epoch = {"epoch": 1, "step": 0, "train_loss": 2.0, "valid_loss": math.inf, "valid_accuracy": 0.1}
    lost = {**step, "train_loss": math.nan}
    each = [([step], []), ([lost], []), ([step, {**lost, "step": 1}], []), ([step], [epoch])]
    trainings = [Training(str(number), steps, epochs, 1) for number, (steps, epochs) in enumerate(each)]
    figures = [
        *(training_figure(f"t{number}", title="t", trainings=[one]) for number, one in enumerate(trainings)),
        training_figure("all", title="t", trainings=trainings),
        *(
            range_test_figure(f"r{number}", title="r", tests=[([0.1, 0.2], losses)], shape=shape, suggestion=None)
            for number, losses in enumerate(([2.0, 1.0], [2.0, math.nan]))
            for shape in [shape_of([Curve([0.1, 0.2], losses)])]
        ),
    ]
    written = tmp_path / "page.html"
    written.write_text(render(Page("t", "", [Section("s", "s", figures)])))
    tab = opened(written.as_uri())
    assert tab.locator("figure[data-drawn]").count() == len(figures)


def test_hostile_class_names_are_text(tab: Tab) -> None:
    for details in tab.locator("details").all():
        details.evaluate("one => { one.open = true; }")
    assert tab.evaluate("window.hacked") is None
    assert tab.locator("img").count() == 0
    body = tab.locator("body").inner_text()
    assert HOSTILE in body
    assert OTHER in body
    heads = tab.locator("table.matrix thead th").all_inner_texts()
    assert {HOSTILE, OTHER} <= set(heads)
    tile = tab.locator(".tile").first
    assert "predicted as" in (tile.get_attribute("aria-label") or "")
    assert "data:image/png" in tile.evaluate("tile => getComputedStyle(tile).backgroundImage")


def test_a_table_is_sorted_by_a_click_and_by_the_keyboard(tab: Tab) -> None:
    table = tab.locator("#run-3-swept-sweep-cells")
    head = table.locator("thead th", has_text="valid_loss")
    column = head.evaluate("head => head.cellIndex") + 1

    def values() -> list[float]:
        return [float(text) for text in table.locator(f"tbody tr > :nth-child({column})").all_inner_texts()]

    before = values()
    head.locator("button").click()
    assert values() == sorted(before)
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").focus()
    tab.keyboard.press("Enter")
    assert values() == sorted(before, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    assert tab.locator("#said").inner_text() == "Sorted by valid_loss, descending."
    assert table.locator("[aria-sort]").count() == 1
    # Text is sorted as text, and numbers in it by their size.
    overview = tab.locator("#overview-runs")
    overview.locator("thead th", has_text="command").locator("button").click()
    commands = overview.locator("tbody tr > :nth-child(2)").all_inner_texts()
    assert commands == ["find-lr", "sweep", "train", "train"]


def colors(tab: Tab) -> tuple[str, str, str]:
    """The colours of the page, of its text, and of the text of a chart."""
    found = tab.evaluate(
        """() => {
          const of = (one, name) => getComputedStyle(one)[name];
          const label = document.querySelector(".role-axis-label text");
          return [of(document.body, "backgroundColor"), of(document.body, "color"), of(label, "fill")];
        }"""
    )
    return tuple(found)


def test_the_page_is_light_or_dark_as_the_system_and_as_the_reader_says(opened: Callable[..., Tab]) -> None:
    tab = opened(color_scheme="light")
    light = ("rgb(255, 255, 255)", "rgb(27, 31, 36)", "rgb(27, 31, 36)")
    dark = ("rgb(15, 20, 25)", "rgb(230, 237, 243)", "rgb(230, 237, 243)")
    assert colors(tab) == light
    tab.emulate_media(color_scheme="dark")
    assert colors(tab) == dark
    button = tab.locator("#theme")
    button.click()
    assert (button.inner_text(), colors(tab)) == ("Colours: light", light)
    tab.emulate_media(color_scheme="light")
    button.click()
    assert (button.inner_text(), colors(tab)) == ("Colours: dark", dark)
    tab.emulate_media(media="print")
    assert colors(tab) == light
    tab.emulate_media(media="screen")
    tab.reload()
    tab.wait_for_selector("html[data-ready]")
    assert colors(tab) == dark


def test_a_chart_zooms_by_buttons_and_by_dragging(tab: Tab) -> None:
    figure = tab.locator(f"#{FOUND}")
    whole = labels(tab, FOUND)
    figure.get_by_role("button", name="Zoom in").click()
    wait_for_labels(tab, FOUND, "!==", whole)
    figure.get_by_role("button", name="Whole range").click()
    wait_for_labels(tab, FOUND, "===", whole)
    chart = figure.locator(".chart").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    middle, height = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    tab.mouse.move(middle, height)
    tab.mouse.down()
    tab.mouse.move(middle + 150, height, steps=3)
    assert chart.locator(".brush").count() == 1
    tab.mouse.up()
    assert chart.locator(".brush").count() == 0
    wait_for_labels(tab, FOUND, "!==", whole)
    chart.dblclick()
    wait_for_labels(tab, FOUND, "===", whole)


def test_the_loss_has_a_log_axis_on_demand_and_where_it_exploded(tab: Tab) -> None:
    button = tab.locator(f"#{FOUND}").get_by_role("button", name="Log loss axis")
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert button.get_attribute("aria-pressed") == "true"
    exploded = tab.locator(f"#{DIVERGED}").get_by_role("button", name="Log loss axis")
    assert exploded.get_attribute("aria-pressed") == "true"


def test_pointing_at_a_curve_shows_its_numbers(tab: Tab) -> None:
    chart = tab.locator(f"#{FOUND} .chart").first
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None
    for step in range(3):
        tab.mouse.move(box["x"] + box["width"] / 2 + step, box["y"] + box["height"] / 2)
    tip = tab.locator("#vg-tooltip-element.visible")
    tip.wait_for()
    assert "smoothed loss" in tip.inner_text()


def test_a_statement_leads_to_its_place_in_the_curve(tab: Tab) -> None:
    whole = labels(tab, DIVERGED)
    tab.locator("#run-4-diverged").get_by_role("button", name="Show it in the curve").first.click()
    tab.wait_for_function("document.getElementById('said').textContent.startsWith('The curves from ')")
    assert tab.evaluate("document.activeElement.id") == DIVERGED
    assert labels(tab, DIVERGED) != whole


@pytest.mark.parametrize("width", [360, 1280])
def test_the_page_needs_no_scrolling_sideways(tab: Tab, width: int) -> None:
    tab.set_viewport_size({"width": width, "height": 900})
    for details in tab.locator("details").all():
        details.evaluate("one => { one.open = true; }")
    assert tab.evaluate("document.documentElement.scrollWidth") == width
    # A wide table scrolls by itself, also by the keyboard.
    wide = tab.locator(".scroll").evaluate_all(
        "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.tabIndex)"
    )
    assert set(wide) <= {0}
    # The name of a class is on one line, upright or rotated, however long it is.
    lines = tab.locator("table.matrix th span").evaluate_all(
        "all => all.map(a => Math.min(a.offsetWidth, a.offsetHeight) / parseFloat(getComputedStyle(a).fontSize))"
    )
    assert lines
    assert max(lines) < 2


def test_everything_can_be_reached_by_the_keyboard_and_has_a_name(opened: Callable[..., Tab]) -> None:
    tab = opened()
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "main"
    buttons = tab.locator("button")
    names = buttons.evaluate_all("all => all.map(one => (one.ariaLabel ?? one.textContent).trim())")
    assert all(names)


def test_without_scripts_the_numbers_are_there(opened: Callable[..., Tab]) -> None:
    tab = opened(java_script_enabled=False)
    assert tab.locator("noscript .note").is_visible()
    assert tab.locator(f"#{FOUND} .said").is_visible()
    assert not tab.locator(f"#{FOUND} .tools").is_visible()
    assert tab.locator("#run-3-swept-sweep-cells").is_visible()


def test_on_paper_the_figures_stay_and_the_buttons_do_not(tab: Tab) -> None:
    tab.emulate_media(media="print")
    assert tab.locator(f"#{FOUND} svg").first.is_visible()
    for hidden in ("nav", "#theme", f"#{FOUND} .tools", ".hint"):
        assert not tab.locator(hidden).first.is_visible(), hidden
    tab.emulate_media(media="screen")


@pytest.mark.slow
def test_a_live_page_refreshes_by_itself_until_it_is_paused(opened: Callable[..., Tab], runs: Path) -> None:
    import psutil

    shutil.copytree(runs / "found", runs / "going")
    run = RunDir(runs / "going")
    started = psutil.Process(os.getpid()).create_time()
    run.update(status="running", pid=os.getpid(), process_started=started, notes=[])
    found, _ = found_runs(["going"], runs)
    with ReportServer(found, runs) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            tab = opened(server.address)
            run.note("A first note.")
            tab.get_by_text("A first note.").wait_for()
            tab.wait_for_selector("html[data-ready]")
            tab.locator("#pause").click()
            assert tab.locator("#live").inner_text() == "The updates are paused."
            run.note("A second note.")
            tab.wait_for_timeout(3_000)
            assert tab.get_by_text("A second note.").count() == 0
            tab.locator("#pause").click()
            tab.get_by_text("A second note.").wait_for()
            run.update(status="finished")
            tab.get_by_text("All runs have ended.").wait_for()
            assert tab.locator("#pause").count() == 0
        finally:
            server.shutdown()
            thread.join()
    shutil.rmtree(runs / "going")
